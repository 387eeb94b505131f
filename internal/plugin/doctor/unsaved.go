package doctor

import (
	"bytes"
	"context"
	"fmt"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
)

// unsavedMetric counts answers of authorization servers that are in memory only.
const unsavedMetric = "mcp_connection_unsaved_answers"

// unsavedFinding reads the metric of every replica, where metrics are open to whoever may use the API server's proxy.
func (o *Operator) unsavedFinding(ctx context.Context, c kubernetes.Interface) Finding {
	f := Finding{Title: "Answers that are not saved"}
	unseen := func() Finding {
		f.skip("Cannot be seen from here: the operator's metrics want a token of their own. Ask Prometheus for `max(%s)`: "+
			"more than 0 means that the API server takes no writes, and a restart would lose tokens.", unsavedMetric)
		return f
	}
	if o.Deployment == nil || o.flag("metrics-bind-address") == "0" {
		return unseen()
	}
	address := o.flag("metrics-bind-address")
	if address == "" {
		address = ":8443"
	}
	pods, err := o.Pods(ctx, c)
	if err != nil || len(pods) == 0 {
		return unseen()
	}
	total := 0.0
	for i := range pods {
		path, err := metricsPath(pods[i].Namespace, pods[i].Name, address)
		if err != nil {
			return unseen()
		}
		raw, err := c.CoreV1().RESTClient().Get().AbsPath(path).Do(ctx).Raw()
		if err != nil {
			return unseen()
		}
		n, err := unsaved(raw)
		if err != nil {
			f.warn("The metrics of pod %s cannot be read: %s", pods[i].Name, oneLine(err.Error()))
			return f
		}
		total += n
	}
	if total > 0 {
		f.fail("%g: the API server takes no writes, and a restart of the operator would lose tokens. Do not restart it; "+
			"mend the API server.", total)
		return f
	}
	f.note("None.")
	return f
}

// unsaved is the value of the metric in a scrape.
func unsaved(scrape []byte) (float64, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(scrape))
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	family := families[unsavedMetric]
	if family == nil {
		return 0, fmt.Errorf("there is no metric %s", unsavedMetric)
	}
	total := 0.0
	for _, m := range family.GetMetric() {
		total += m.GetGauge().GetValue()
	}
	return total, nil
}
