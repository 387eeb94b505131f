package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// copyOf is a Secret of the same size under another name.
func copyOf(secret *corev1.Secret, namespace, name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: secret.Labels,
			Annotations: secret.Annotations, OwnerReferences: secret.OwnerReferences},
		Type: secret.Type, Data: secret.Data,
	}
}

func (f *plainLoop) create(ctx context.Context, secret **corev1.Secret) (err error) {
	*secret, err = f.set.CoreV1().Secrets((*secret).Namespace).Create(ctx, *secret, metav1.CreateOptions{})
	return err
}

// update puts a Secret with other content than it had.
func (f *plainLoop) update(ctx context.Context, u *plainUnit, secret **corev1.Secret) (err error) {
	u.writes++
	(*secret).Data["format"] = []byte(strconv.Itoa(u.writes))
	*secret, err = f.set.CoreV1().Secrets((*secret).Namespace).Update(ctx, *secret, metav1.UpdateOptions{})
	return err
}

func (f *plainLoop) patch(ctx context.Context, u *plainUnit, body map[string]any, subresources ...string) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = f.dynamic.Patch(ctx, u.connection.Name, types.MergePatchType, raw, metav1.PatchOptions{}, subresources...)
	return err
}

// patchStatus writes what a refresh changes in status.
func (f *plainLoop) patchStatus(ctx context.Context, u *plainUnit) error {
	u.writes++
	at := time.Now().UTC().Add(time.Duration(u.writes) * time.Second).Truncate(time.Second).Format(time.RFC3339)
	return f.patch(ctx, u, map[string]any{"status": map[string]any{"token": map[string]any{
		"secretName": u.token.Name, "secretResourceVersion": u.token.ResourceVersion, "issuedAt": at, "expiresAt": at,
		"refreshAt": at,
	}}}, "status")
}

func (f *plainLoop) events(ctx context.Context, u *plainUnit, n int) error {
	for i := range n {
		event := &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: u.connection.Namespace, Name: fmt.Sprintf("%s.%d", u.connection.Name, i)},
			EventTime:  metav1.NowMicro(), ReportingController: "bench", ReportingInstance: "bench", Action: "Reconcile",
			Type:   "Normal",
			Reason: "Succeeded", Note: "The token Secret is up to date.",
			Regarding: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MCPConnection",
				Namespace: u.connection.Namespace, Name: u.connection.Name, UID: u.connection.UID},
		}
		if _, err := f.set.EventsV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// post asks a local server, as a token request would.
func (f *plainLoop) post(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(make([]byte, 512)))
	if err != nil {
		return err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
