package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition returns a condition as of now. Where previous has one of the type with
// the same status, it has been so since then.
func Condition(previous []metav1.Condition, kind string, status ConditionStatus, reason, message string, now time.Time) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second))}
	for _, p := range previous {
		if p.Type == kind && p.Status == status {
			c.LastTransitionTime = p.LastTransitionTime
		}
	}
	return c
}

// ConditionStatus is whether a condition holds: package meta/v1's, for those that
// know nothing else of it.
type ConditionStatus = metav1.ConditionStatus

// The values of ConditionStatus.
const (
	True    = metav1.ConditionTrue
	False   = metav1.ConditionFalse
	Unknown = metav1.ConditionUnknown
)
