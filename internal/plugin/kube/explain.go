package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// Explain makes one line for a person of an error of the cluster's API, or of the kubeconfig. It keeps the chain and an
// exit code.
func Explain(err error) error {
	var exit *ExitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	code := ExitFailed
	text := explanation(err)
	if text == "" {
		text = oneLine(err.Error())
	}
	if clientcmd.IsContextNotFound(err) {
		code = ExitUsage
	}
	return &ExitError{Code: code, Err: &explained{text: text, cause: err}}
}

// explained is an error in other words.
type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.cause }

func explanation(err error) string {
	var refused *net.OpError
	var request *url.Error
	switch {
	case unknownResource(err):
		return "this cluster does not know MCPConnections: install the operator first, or choose another cluster " +
			"with --context"
	case apierrors.IsUnauthorized(err):
		return "the cluster does not know who you are: log in again, or choose another user with --context or --user"
	case apierrors.IsForbidden(err):
		return oneLine(statusMessage(err)) + ": ask for that right, or choose another user with --context or --user"
	case clientcmd.IsContextNotFound(err):
		return "the kubeconfig has no such context (" + strings.TrimPrefix(oneLine(err.Error()), "invalid configuration: ") +
			"): kubectl config get-contexts"
	case clientcmd.IsEmptyConfig(err):
		return "no cluster is configured: name a kubeconfig with --kubeconfig or KUBECONFIG"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &request) && (errors.As(err, &refused) || request.Timeout()):
		return fmt.Sprintf("the cluster's API server does not answer (%s): start it, or choose another cluster "+
			"with --context", host(request))
	}
	return ""
}

// unknownResource reports whether the API server has no such path at all, which a missing object does not mean.
func unknownResource(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func statusMessage(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

func host(request *url.Error) string {
	if u, err := url.Parse(request.URL); err == nil {
		return u.Host
	}
	return "its address is no URL"
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
