// Command alerts says which alerts the metrics of an operator call for: it reads what an operator serves, and writes a
// line for each alert whose expression holds, with its labels; how long it has to hold is left out. Its tests try the
// rules and the dashboard on worlds of hours. It has a module of its own, because nothing that it needs belongs near
// the operator's.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "name the rules, and give the metrics on standard input: alerts "+
			"config/prometheus/rules.yaml <metrics")
		os.Exit(2)
	}
	if err := tell(context.Background(), os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tell(ctx context.Context, file string, metrics io.Reader, out io.Writer) (err error) {
	text, err := ruleFile(file)
	if err != nil {
		return err
	}
	rules, err := parse(text)
	if err != nil {
		return err
	}
	now := time.Now()
	db, err := teststorage.NewWithError()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := store(ctx, db, metrics, now); err != nil {
		return err
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute})
	lines := bufio.NewWriter(out)
	for _, rule := range rules {
		query, err := engine.NewInstantQuery(ctx, db, nil, rule.Expr, now)
		if err != nil {
			return err
		}
		found, err := query.Exec(ctx).Vector()
		if err != nil {
			return fmt.Errorf("%s: %w", rule.Alert, err)
		}
		for _, sample := range found {
			_, _ = fmt.Fprintln(lines, rule.Alert+sample.Metric.String())
		}
	}
	return lines.Flush()
}

// store keeps what an operator served as if it had been scraped now.
func store(ctx context.Context, db storage.AppendableV2, metrics io.Reader, now time.Time) error {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(metrics)
	if err != nil {
		return err
	}
	appender := db.AppenderV2(ctx)
	for _, family := range families {
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.TimeFromUnixNano(now.UnixNano())},
			family)
		if err != nil {
			return err
		}
		for _, sample := range samples {
			series := labels.NewBuilder(labels.EmptyLabels())
			for name, value := range sample.Metric {
				series.Set(string(name), string(value))
			}
			if _, err := appender.Append(0, series.Labels(), 0, int64(sample.Timestamp), float64(sample.Value), nil, nil,
				storage.AppendV2Options{}); err != nil {
				return errors.Join(err, appender.Rollback())
			}
		}
	}
	return appender.Commit()
}

// ruleFile is a PrometheusRule as a rule file, which is what Prometheus is given.
func ruleFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var object struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
		Spec       struct {
			Groups []any `json:"groups"`
		} `json:"spec"`
	}
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return nil, err
	}
	if object.APIVersion != "monitoring.coreos.com/v1" || object.Kind != "PrometheusRule" {
		return nil, fmt.Errorf("%s holds a %s of %s, want a PrometheusRule of monitoring.coreos.com/v1", path, object.Kind,
			object.APIVersion)
	}
	return yaml.Marshal(object.Spec)
}

// parse reads a rule file as Prometheus does.
func parse(text []byte) ([]rulefmt.Rule, error) {
	groups, errs := rulefmt.Parse(text, false, model.LegacyValidation, parser.NewParser(parser.Options{}),
		slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	return all, nil
}
