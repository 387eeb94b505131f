package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/test/harness"
)

// namespaces over which the connections are spread.
const namespaces = 5

// world is one run.
type world struct {
	settings
	table  *table
	ledger *ledger
	server *authServer
	fleet  *fleet
	front  *http.Server
	people *people
	// plane is etcd and the API server.
	plane     *harness.ControlPlane
	apiServer *apiServer
	// api acts as administrator, without a limit of its own.
	api   client.WithWatch
	store *credential.Store
	rng   *rand.Rand
	// meanwhile is what happens while the next leader is frozen.
	meanwhile []disaster
}

func newWorld(ctx context.Context, s settings) (_ *world, err error) {
	t := newTable()
	w := &world{settings: s, table: t, ledger: newLedger(t), rng: rand.New(rand.NewPCG(s.seed, 2))}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if w.server, err = newAuthServer(w.ledger, s.seed); err != nil {
		return nil, err
	}
	if w.plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{Logf: harness.Stderr}); err != nil {
		return nil, err
	}
	if w.apiServer, err = findAPIServer(w.plane.Config.Host); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(w.plane.Config)
	config.QPS, config.Timeout = -1, 10*time.Second
	if w.api, err = client.NewWithWatch(config, client.Options{Scheme: w.plane.Client.Scheme()}); err != nil {
		return nil, err
	}
	w.store = credential.NewStore(w.api, harness.OperatorNamespace)
	w.people = newPeople(w)
	return w, w.startFleet(ctx)
}

func (w *world) startFleet(ctx context.Context) (err error) {
	f := &fleet{control: filepath.Join(w.plane.Dir, "control"), ended: w.ended}
	w.fleet = f
	if err = os.Mkdir(f.control, 0o700); err != nil {
		return err
	}
	harness.Stderr("building the operator with the tag faults")
	f.binary = filepath.Join(w.plane.Dir, "operator")
	if err = harness.Build(ctx, f.binary, "cmd", "-tags", "faults"); err != nil { // the real program, with the points
		return err
	}
	if f.kubeconfig, err = w.plane.OperatorKubeconfig(ctx); err != nil {
		return err
	}
	if f.log, err = os.Create(filepath.Join(w.plane.Dir, "operator.log")); err != nil {
		return err
	}
	for _, name := range []string{"pod-a", "pod-b"} {
		p, err := newPod(name)
		if err != nil {
			return err
		}
		f.pods = append(f.pods, p)
	}
	if w.front, err = newFront(f); err != nil {
		return err
	}
	f.run(ctx, f.pods[0])
	return nil
}

// stop ends everything.
func (w *world) stop() {
	if w.fleet != nil {
		for _, p := range w.fleet.pods {
			if err := p.stop(30 * time.Second); err != nil {
				harness.Stderr("%v", err)
			}
		}
		_ = w.fleet.log.Close()
		if w.keepLog != "" {
			_ = os.Rename(w.fleet.log.Name(), w.keepLog)
		}
	}
	if w.front != nil {
		_ = w.front.Close()
	}
	if w.server != nil {
		w.server.down()
	}
	if w.apiServer != nil {
		w.apiServer.end()
	}
	if w.plane != nil {
		if err := w.plane.Stop(); err != nil {
			harness.Stderr("stopping the control plane: %v", err)
		}
	}
}

// ended is called when a process began and when it ended. What was claimed then is in doubt if it was killed; a process
// that ends by itself leaves nothing behind.
func (w *world) ended(ctx context.Context, p *pod, process string, byKill bool) {
	w.ledger.belongs(process, p.name)
	if p.current() != "" {
		return // it began
	}
	held, err := w.claimed(ctx, p)
	if err != nil {
		harness.Stderr("looking for claims of %s: %v", process, err)
	}
	for _, refresh := range held {
		if byKill {
			w.ledger.doubt(refresh, process, w.how(p))
		} else if w.ledger.asked(refresh, process) {
			w.table.broken(&w.table.unclean, "%s ended by itself with an answer that was not saved", process)
		}
	}
}

// how says what the death of a pod's process excuses: another pod may be the one to go on.
func (w *world) how(p *pod) string {
	for _, other := range w.fleet.pods {
		if other != p && other.isWanted() {
			return takenOver
		}
	}
	return killed
}

// claimed are the refresh tokens that a process of a pod holds a claim on.
func (w *world) claimed(ctx context.Context, p *pod) ([]string, error) {
	if err := harness.Pause(ctx, 300*time.Millisecond); err != nil { // a write of the process may still be under way
		return nil, err
	}
	all, err := w.patientConnections(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range all {
		held, err := w.store.Get(ctx, all[i].UID)
		if err != nil {
			return nil, err
		}
		if held == nil {
			continue
		}
		for _, g := range held.Grants {
			if g.Claim != nil && strings.HasPrefix(g.Claim.Holder, p.name+"/") {
				out = append(out, g.RefreshToken)
			}
		}
	}
	return out, nil
}

// patientConnections lists the connections, also if the API server is away for a while.
func (w *world) patientConnections(ctx context.Context) ([]v1alpha1.MCPConnection, error) {
	for try := 0; ; try++ {
		all, err := w.connections(ctx)
		if err == nil {
			return all, nil
		}
		if try > 60 || harness.Pause(ctx, time.Second) != nil {
			return nil, err
		}
	}
}

func (w *world) connections(ctx context.Context) ([]v1alpha1.MCPConnection, error) {
	list := &v1alpha1.MCPConnectionList{}
	if err := w.api.List(ctx, list); err != nil {
		return nil, err
	}
	return list.Items, nil
}

func namespaceOf(i int) string { return fmt.Sprintf("faults-%d", i%namespaces) }

// create makes all connections.
func (w *world) create(ctx context.Context) error {
	for i := range namespaces {
		if err := w.plane.Namespace(ctx, namespaceOf(i)); err != nil {
			return err
		}
	}
	for i := range w.settings.connections {
		conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(i),
			Name: fmt.Sprintf("c%03d", i)},
			Spec: v1alpha1.MCPConnectionSpec{ServerURL: w.server.mcpURL(i)}}
		if err := w.api.Create(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

// annotate sets an annotation of an object.
func (w *world) annotate(ctx context.Context, obj client.Object, annotation, value string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, annotation, value)
	err := w.api.Patch(ctx, obj, client.RawPatch("application/merge-patch+json", []byte(patch)))
	return client.IgnoreNotFound(err)
}
