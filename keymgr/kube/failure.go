package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	stdnet "net"
	"net/url"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// failure is what keeps one kind of objects from being followed.
type failure struct {
	message string
	since   time.Time
}

// first is the failure to tell: where all fail, they do so for one reason.
func first(failing map[string]failure) (failure, bool) {
	for _, what := range slices.Sorted(maps.Keys(failing)) {
		return failing[what], true
	}
	return failure{}, false
}

// note remembers how a request fared.
func (s *Source) note(ctx context.Context, what string, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) { // what is asked for is only too old
		return
	}
	s.mu.Lock()
	old, was := s.failing[what]
	if err == nil {
		delete(s.failing, what)
	} else {
		f := failure{explain(s.client.Server, what, err), old.since}
		if !was {
			f.since = time.Now()
		}
		s.failing[what] = f
	}
	s.mu.Unlock()
	if was || err != nil {
		poke(s.wake)
		poke(s.write)
	}
}

// explain says what an error of a request for some resource means, and what to do.
// The same fault gives the same text.
func explain(server, what string, err error) string {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Sprintf("API server %s does not know who asks (401): the token is not or no longer valid; look at the ServiceAccount of wgsteer, or renew the kubeconfig", server)
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("API server %s refuses: %v; give the ServiceAccount of wgsteer the rights of the Helm chart (deploy/helm/wgsteer)", server, err)
	case apierrors.IsNotFound(err) && what == v1alpha1.Resource:
		return fmt.Sprintf("API server %s has no %s: apply the definition in deploy/helm/wgsteer/crds", server, v1alpha1.Resource)
	}
	return fmt.Sprintf("API server %s: %v", server, plain(err))
}

// plain leaves out of an error what differs from one try to the next: the query of
// the URL, and the own port.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *stdnet.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}
