package v1alpha1

import "slices"

// conditionTypes are all that the operator writes.
var conditionTypes = []string{
	ConditionDiscovered, ConditionRegistered, ConditionAuthorized, ConditionProbed, ConditionReady, ConditionReconciling,
	ConditionStalled,
}

// IsConditionType reports whether the operator writes conditions of this type.
func IsConditionType(name string) bool { return slices.Contains(conditionTypes, name) }
