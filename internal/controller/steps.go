package controller

import (
	"slices"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// step is one effect of the reconciler. A step, its function and its failure share one word.
type step string

const (
	stepNone               step = ""
	stepFinalize           step = "finalize"
	stepObserve            step = "observe" // it comes first, and is never decided
	stepSave               step = "save"    // it goes on beside the reconciles, and is never decided
	stepAddFinalizer       step = "addFinalizer"
	stepCreateCredential   step = "createCredential"
	stepNotePolicy         step = "notePolicy"
	stepWithdrawToken      step = "withdrawToken"
	stepTakeChallenge      step = "takeChallenge"
	stepForgetChallenge    step = "forgetChallenge"
	stepPublish            step = "publish"
	stepExchangeCode       step = "exchangeCode"
	stepRevoke             step = "revoke"
	stepRefresh            step = "refresh"
	stepDiscover           step = "discover"
	stepRegister           step = "register"
	stepUpdateRegistration step = "updateRegistration"
	stepUnregister         step = "unregister"
	stepStartAuthorization step = "startAuthorization"
	stepEndAuthorization   step = "endAuthorization"
	stepRequestToken       step = "requestToken"
	stepImportGrant        step = "importGrant"
	stepProbe              step = "probe"
)

// stepRow is what is known of a step besides how it is done (perform) and when (activities).
type stepRow struct {
	step step
	// condition tells of its failure; empty where Ready alone does.
	condition string
}

// steps in the order of importance of their failures: the first that fails is the one to mend first.
var steps = []stepRow{
	{stepObserve, ""},
	{stepSave, ""},
	{stepAddFinalizer, ""},
	{stepCreateCredential, ""},
	{stepWithdrawToken, v1alpha1.ConditionAuthorized},
	{stepRefresh, v1alpha1.ConditionAuthorized},
	{stepRequestToken, v1alpha1.ConditionAuthorized},
	{stepImportGrant, v1alpha1.ConditionAuthorized},
	{stepDiscover, v1alpha1.ConditionDiscovered},
	{stepRegister, v1alpha1.ConditionRegistered},
	{stepStartAuthorization, v1alpha1.ConditionAuthorized},
	{stepExchangeCode, v1alpha1.ConditionAuthorized},
	{stepPublish, ""},
	{stepRevoke, v1alpha1.ConditionAuthorized},
	{stepFinalize, ""},
	{stepNotePolicy, ""},
	{stepTakeChallenge, v1alpha1.ConditionAuthorized},
	{stepForgetChallenge, v1alpha1.ConditionAuthorized},
	{stepEndAuthorization, v1alpha1.ConditionAuthorized},
	{stepUpdateRegistration, v1alpha1.ConditionRegistered},
	{stepUnregister, v1alpha1.ConditionRegistered},
	{stepProbe, v1alpha1.ConditionProbed},
}

// importance of a step's failure: the less, the more important.
func importance(s step) int {
	return slices.IndexFunc(steps, func(row stepRow) bool { return row.step == s })
}
