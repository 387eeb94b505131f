package controller

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// kubectl runs a command of a page in the namespace of the test.
func (w *world) kubectl(command string) string {
	GinkgoHelper()
	config, err := clientcmd.Load(environment.KubeConfig)
	w.must(err)
	config.Contexts[config.CurrentContext].Namespace = w.key.Namespace
	home := GinkgoT().TempDir()
	file := filepath.Join(home, "kubeconfig")
	w.must(clientcmd.WriteToFile(*config, file))
	cmd := exec.CommandContext(w.ctx, "sh", "-c", command)
	cmd.Env = []string{"HOME=" + home, "KUBECONFIG=" + file, "PATH=" + os.Getenv("KUBEBUILDER_ASSETS") +
		string(os.PathListSeparator) + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s: %v\n%s", command, err, out)
	return string(out)
}

// run runs the commands of a block and compares what they print with what the page shows. examples has the hosts of the
// page in place of the fake servers.
func (w *world) run(c console, examples *strings.Replacer) {
	GinkgoHelper()
	for _, s := range c {
		got := w.kubectl(s.command)
		if strings.HasPrefix(s.output, "NAME ") {
			w.compareTables(got, s.output, examples)
			continue
		}
		got = strings.TrimSuffix(examples.Replace(got), "\n")
		want := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSuffix(s.output, "\n")), "…", `[^\s"]+`)
		Expect(got).To(MatchRegexp("^"+want+"$"), "%s prints\n%s\nbut the page shows\n%s", s.command, got, s.output)
	}
}

// compareTables compares columns, values and alignment. Of times only their form is compared.
func (w *world) compareTables(printed, page string, examples *strings.Replacer) {
	GinkgoHelper()
	got, want := cells(printed), cells(page)
	instant := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
	form := map[string]*regexp.Regexp{"EXPIRES": instant, "DUE": instant, "AGE": regexp.MustCompile(`^\d+s$`)}
	for i, row := range got {
		for j := range row {
			row[j] = examples.Replace(row[j])
			time := form[got[0][j]]
			if time != nil && i < len(want) && j < len(want[i]) && time.MatchString(row[j]) && time.MatchString(want[i][j]) {
				row[j] = want[i][j]
			}
		}
	}
	if aligned := aligned(got); aligned != page {
		Fail(fmt.Sprintf("kubectl prints\n%s\nbut the page shows\n%s", aligned, page))
	}
}

// cells takes a table of kubectl apart: columns begin where their headers do.
func cells(table string) [][]string {
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	headers := regexp.MustCompile(`\S+`).FindAllStringIndex(lines[0], -1)
	rows := make([][]string, len(lines))
	for i, line := range lines {
		for j, header := range headers {
			end := len(line)
			if j+1 < len(headers) {
				end = min(end, headers[j+1][0])
			}
			rows[i] = append(rows[i], strings.TrimSpace(line[min(header[0], end):end]))
		}
	}
	return rows
}

// aligned puts a table together as kubectl does.
func aligned(rows [][]string) string {
	var b strings.Builder
	out := tabwriter.NewWriter(&b, 6, 4, 3, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	_ = out.Flush()
	return b.String()
}

// runGuides runs what the guides show of a sample, before its consent or after.
func (w *sampleWorld) runGuides(waiting bool) {
	GinkgoHelper()
	for _, page := range guides(GinkgoTB()) {
		for _, c := range readConsoles(GinkgoTB(), page) {
			if c.about(w.key.Name) && c.waits() == waiting {
				w.run(c, strings.NewReplacer(w.server.MCPURL(), "https://mcp.example.com/mcp", w.pages.URL,
					"https://connect.example.com", w.server.Issuer(), "https://auth.example.com", w.key.Namespace, "default"))
			}
		}
	}
}

var _ = Describe("The five minutes of the readme", func() {
	It("go as they are shown", func() {
		const readme = "../../README.md"
		text, err := os.ReadFile(readme)
		Expect(err).NotTo(HaveOccurred())
		first := regexp.MustCompile("(?s)\n   ```yaml\n(   apiVersion: .*?)   ```\n").FindStringSubmatch(string(text))
		Expect(first).NotTo(BeNil(), "there is no manifest")
		blocks := readConsoles(GinkgoTB(), readme)
		Expect(blocks).To(HaveLen(3))
		w := newWorld()
		w.key.Name = "notion"
		w.applyManifest(strings.NewReplacer("\n   ", "\n", "namespace: agents", "namespace: "+w.key.Namespace,
			"https://mcp.notion.com/mcp", w.server.MCPURL()).Replace("\n" + first[1]))
		w.reconcile()
		for i, c := range blocks {
			if i == 2 {
				w.consent()
			}
			for j := range c {
				c[j].command = strings.Replace(c[j].command, "-n agents", "-n "+w.key.Namespace, 1)
			}
			w.run(c, strings.NewReplacer(w.server.MCPURL(), "https://mcp.notion.com/mcp", w.pages.URL,
				"https://mcp-connections.example.com"))
		}
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		template := regexp.MustCompile(`(?s)mcp\.json: \|\n +(\{.*?)\n` + "```").FindStringSubmatch(string(text))
		Expect(template).NotTo(BeNil(), "there is no template")
		w.edit(func(c *v1alpha1.MCPConnection) {
			c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{
				Data: map[string]v1alpha1.Template{"mcp.json": v1alpha1.Template(template[1])}}
		})
		token := w.secret()
		rendered := token["mcp.json"] == `{"mcpServers": {"notion": {"url": "`+w.server.MCPURL()+
			`", "headers": {"Authorization": "`+token[v1alpha1.KeyAuthorization]+`"}}}}`
		Expect(rendered).To(BeTrue(), "the template renders something else")
	})
})
