package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// identityLifetime bounds how long one run may take.
const identityLifetime = 24 * time.Hour

// OperatorKubeconfig writes a kubeconfig for the operator's ServiceAccount, with a token
// requested for it, and returns the file. It first proves that this identity is no administrator.
func (c *ControlPlane) OperatorKubeconfig(ctx context.Context) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: OperatorNamespace,
		Name: OperatorServiceAccount}}
	seconds := int64(identityLifetime / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if err := c.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("request a token for ServiceAccount %s/%s: %w", account.Namespace, account.Name, err)
	}
	config := rest.AnonymousClientConfig(c.Config)
	config.BearerToken = request.Status.Token
	if err := checkIdentity(ctx, config); err != nil {
		return "", err
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return "", err
	}
	file := filepath.Join(c.Dir, "operator.kubeconfig")
	return file, clientcmd.WriteToFile(kubeconfigOf(config), file)
}

// kubeconfigOf says in a kubeconfig's words what a client configuration with a bearer token says.
func kubeconfigOf(config *rest.Config) clientcmdapi.Config {
	const name = "operator"
	file := clientcmdapi.NewConfig()
	file.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   config.Host,
		TLSServerName:            config.ServerName,
		InsecureSkipTLSVerify:    config.Insecure,
		CertificateAuthorityData: config.CAData,
	}
	file.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: config.BearerToken}
	file.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: OperatorNamespace}
	file.CurrentContext = name
	return *file
}

// checkIdentity fails unless the configuration speaks for the operator's ServiceAccount,
// and the API server refuses it something that only an administrator may do.
func checkIdentity(ctx context.Context, config *rest.Config) error {
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	review, err := set.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{},
		metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if got := review.Status.UserInfo.Username; got != OperatorUser {
		return fmt.Errorf("the operator would run as %s, not as %s", got, OperatorUser)
	}
	_, err = set.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
	switch {
	case err == nil:
		return fmt.Errorf("%s may list nodes: the operator would run as an administrator", OperatorUser)
	case !apierrors.IsForbidden(err):
		return fmt.Errorf("ask whether %s may list nodes: %w", OperatorUser, err)
	}
	return nil
}
