// gitops says what GitOps tools would say, with their own code: kstatus (Flux, Helm, kpt), Argo CD's health, actions
// and diffs, and whether objects of their own kinds are what they take.
//
// It reads a JSON list of questions from its standard input and writes the list of answers, in the same order.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/health"
	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	openapi "github.com/google/gnostic-models/openapiv2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/util/proto"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// A question about one object.
type question struct {
	// One of kstatus, health, discovery, action, read, three-way, structured-merge and server-side.
	Ask    string                     `json:"ask"`
	Object *unstructured.Unstructured `json:"object"`
	// Data of argocd-cm, for health, discovery and action.
	Settings map[string]string `json:"settings"`
	Action   string            `json:"action"`
	// For the three kinds of diff: what is in git, and what else they need.
	Wanted    *unstructured.Unstructured `json:"wanted"`
	Manager   string                     `json:"manager"`
	OpenAPI   string                     `json:"openapi"`   // path of the API server's OpenAPI v2 document
	Predicted string                     `json:"predicted"` // what a dry run of a server-side apply answers
}

type answer struct {
	Status    string                    `json:"status,omitempty"`
	Message   string                    `json:"message,omitempty"`
	Actions   []v1alpha1.ResourceAction `json:"actions,omitempty"`
	Resources []lua.ImpactedResource    `json:"resources,omitempty"`
	Modified  bool                      `json:"modified"`
	Live      json.RawMessage           `json:"live,omitempty"`
	Predicted json.RawMessage           `json:"predicted,omitempty"`
	Error     string                    `json:"error,omitempty"`
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		log.Fatal(err)
	}
	answers := make([]answer, len(questions))
	for i := range questions {
		var err error
		if answers[i], err = questions[i].answer(); err != nil {
			answers[i].Error = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

func (q *question) answer() (answer, error) {
	switch q.Ask {
	case "kstatus":
		result, err := status.Compute(q.Object)
		if err != nil {
			return answer{}, err
		}
		return answer{Status: result.Status.String(), Message: result.Message}, nil
	case "health":
		return q.health()
	case "discovery":
		return q.discovery()
	case "action":
		return q.action()
	case "read":
		return answer{}, q.read()
	case "three-way", "structured-merge", "server-side":
		return q.diff()
	}
	return answer{}, fmt.Errorf("nothing is known of %q", q.Ask)
}

// overrides reads argocd-cm as Argo CD does: resource.customizations.<what>.<group>_<Kind>.
func (q *question) overrides() map[string]v1alpha1.ResourceOverride {
	overrides := map[string]v1alpha1.ResourceOverride{}
	for key, value := range q.Settings {
		parts := strings.SplitN(key, ".", 4)
		if len(parts) != 4 || parts[0] != "resource" || parts[1] != "customizations" {
			continue
		}
		name := strings.ReplaceAll(parts[3], "_", "/")
		override := overrides[name]
		switch parts[2] {
		case "health":
			override.HealthLua = value
		case "actions":
			override.Actions = value
		}
		overrides[name] = override
	}
	return overrides
}

func (q *question) health() (answer, error) {
	found, err := health.GetResourceHealth(q.Object, lua.ResourceHealthOverrides(q.overrides()))
	if err != nil || found == nil {
		return answer{}, err
	}
	return answer{Status: string(found.Status), Message: found.Message}, nil
}

func (q *question) discovery() (answer, error) {
	vm := lua.VM{ResourceOverrides: q.overrides()}
	scripts, err := vm.GetResourceActionDiscovery(q.Object)
	if err != nil {
		return answer{}, err
	}
	actions, err := vm.ExecuteResourceActionDiscovery(q.Object, scripts)
	sort.Slice(actions, func(i, j int) bool { return actions[i].Name < actions[j].Name })
	return answer{Actions: actions}, err
}

func (q *question) action() (answer, error) {
	vm := lua.VM{ResourceOverrides: q.overrides()}
	definition, err := vm.GetResourceAction(q.Object, q.Action)
	if err != nil {
		return answer{}, err
	}
	resources, err := vm.ExecuteResourceAction(q.Object, definition.ActionLua, nil)
	return answer{Resources: resources}, err
}

// read takes an object as its tool's own type, and nothing that the type does not have.
func (q *question) read() error {
	into, known := map[string]any{
		"argoproj.io/v1alpha1/Application":             &v1alpha1.Application{},
		"helm.toolkit.fluxcd.io/v2/HelmRelease":        &helmv2.HelmRelease{},
		"kustomize.toolkit.fluxcd.io/v1/Kustomization": &kustomizev1.Kustomization{},
		"source.toolkit.fluxcd.io/v1/GitRepository":    &sourcev1.GitRepository{},
	}[q.Object.GetAPIVersion()+"/"+q.Object.GetKind()]
	if !known {
		return fmt.Errorf("no type is known for %s", q.Object.GroupVersionKind())
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(q.Object.Object, into, true)
}

type foretold string

func (f foretold) Run(context.Context, *unstructured.Unstructured, string) (string, error) {
	return string(f), nil
}

func (q *question) diff() (answer, error) {
	options := []diff.Option{diff.WithManager(q.Manager)}
	if q.Ask != "three-way" {
		parser, err := parserOf(q.OpenAPI)
		if err != nil {
			return answer{}, err
		}
		options = append(options, diff.WithGVKParser(parser))
	}
	switch q.Ask {
	case "structured-merge":
		options = append(options, diff.WithStructuredMergeDiff(true))
	case "server-side":
		options = append(options, diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(foretold(q.Predicted)))
	}
	result, err := diff.Diff(q.Wanted, q.Object, options...)
	if err != nil {
		return answer{}, err
	}
	return answer{Modified: result.Modified, Live: result.NormalizedLive, Predicted: result.PredictedLive}, nil
}

func parserOf(path string) (*managedfields.GvkParser, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	document, err := openapi.ParseDocument(text)
	if err != nil {
		return nil, err
	}
	models, err := proto.NewOpenAPIData(document)
	if err != nil {
		return nil, err
	}
	return managedfields.NewGVKParser(models, false)
}
