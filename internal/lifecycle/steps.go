package lifecycle

import (
	"slices"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// Step is one effect of the reconciler. A step, its function and its failure share one word.
type Step string

// All steps; StepNone is that nothing is due.
const (
	StepNone               Step = ""
	StepFinalize           Step = "finalize"
	StepObserve            Step = "observe" // it comes first, and is never decided
	StepSave               Step = "save"    // it goes on beside the reconciles, and is never decided
	StepAddFinalizer       Step = "addFinalizer"
	StepCreateCredential   Step = "createCredential"
	StepNotePolicy         Step = "notePolicy"
	StepWithdrawToken      Step = "withdrawToken"
	StepTakeChallenge      Step = "takeChallenge"
	StepForgetChallenge    Step = "forgetChallenge"
	StepPublish            Step = "publish"
	StepExchangeCode       Step = "exchangeCode"
	StepRevoke             Step = "revoke"
	StepRefresh            Step = "refresh"
	StepDiscover           Step = "discover"
	StepRegister           Step = "register"
	StepUpdateRegistration Step = "updateRegistration"
	StepUnregister         Step = "unregister"
	StepStartAuthorization Step = "startAuthorization"
	StepEndAuthorization   Step = "endAuthorization"
	StepRequestToken       Step = "requestToken"
	StepImportGrant        Step = "importGrant"
	StepProbe              Step = "probe"
)

// stepRow is what is known of a step besides how it is done (perform) and when (activities).
type stepRow struct {
	step Step
	// condition tells of its failure; empty where Ready alone does.
	condition string
	// asks is who is asked first.
	asks peer
}

// peer is whom a step asks for something.
type peer uint8

const (
	nobody peer = iota
	mcpServer
	tokenEndpointOf
	registrationEndpointOf
	revocationEndpointOf
)

// steps in the order of importance of their failures: the first that fails is the one to mend first.
var steps = []stepRow{
	{StepObserve, "", nobody},
	{StepSave, "", nobody},
	{StepAddFinalizer, "", nobody},
	{StepCreateCredential, "", nobody},
	{StepWithdrawToken, v1alpha1.ConditionAuthorized, nobody},
	{StepRefresh, v1alpha1.ConditionAuthorized, tokenEndpointOf},
	{StepRequestToken, v1alpha1.ConditionAuthorized, tokenEndpointOf},
	{StepImportGrant, v1alpha1.ConditionAuthorized, nobody},
	{StepDiscover, v1alpha1.ConditionDiscovered, mcpServer},
	{StepRegister, v1alpha1.ConditionRegistered, nobody},
	{StepStartAuthorization, v1alpha1.ConditionAuthorized, mcpServer},
	{StepExchangeCode, v1alpha1.ConditionAuthorized, tokenEndpointOf},
	{StepPublish, "", nobody},
	{StepRevoke, v1alpha1.ConditionAuthorized, revocationEndpointOf},
	{StepFinalize, "", nobody},
	{StepNotePolicy, "", nobody},
	{StepTakeChallenge, v1alpha1.ConditionAuthorized, nobody},
	{StepForgetChallenge, v1alpha1.ConditionAuthorized, nobody},
	{StepEndAuthorization, v1alpha1.ConditionAuthorized, nobody},
	{StepUpdateRegistration, v1alpha1.ConditionRegistered, registrationEndpointOf},
	{StepUnregister, v1alpha1.ConditionRegistered, nobody},
	{StepProbe, v1alpha1.ConditionProbed, mcpServer},
}

// importance of a step's failure: the less, the more important.
func importance(step Step) int {
	return slices.IndexFunc(steps, func(row stepRow) bool { return row.step == step })
}

// asks is whom a step asks first.
func (step Step) asks() peer {
	if i := importance(step); i >= 0 {
		return steps[i].asks
	}
	return nobody
}
