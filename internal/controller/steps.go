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
	{stepObserve, "", nobody},
	{stepSave, "", nobody},
	{stepAddFinalizer, "", nobody},
	{stepCreateCredential, "", nobody},
	{stepWithdrawToken, v1alpha1.ConditionAuthorized, nobody},
	{stepRefresh, v1alpha1.ConditionAuthorized, tokenEndpointOf},
	{stepRequestToken, v1alpha1.ConditionAuthorized, tokenEndpointOf},
	{stepImportGrant, v1alpha1.ConditionAuthorized, nobody},
	{stepDiscover, v1alpha1.ConditionDiscovered, mcpServer},
	{stepRegister, v1alpha1.ConditionRegistered, nobody},
	{stepStartAuthorization, v1alpha1.ConditionAuthorized, mcpServer},
	{stepExchangeCode, v1alpha1.ConditionAuthorized, tokenEndpointOf},
	{stepPublish, "", nobody},
	{stepRevoke, v1alpha1.ConditionAuthorized, revocationEndpointOf},
	{stepFinalize, "", nobody},
	{stepNotePolicy, "", nobody},
	{stepTakeChallenge, v1alpha1.ConditionAuthorized, nobody},
	{stepForgetChallenge, v1alpha1.ConditionAuthorized, nobody},
	{stepEndAuthorization, v1alpha1.ConditionAuthorized, nobody},
	{stepUpdateRegistration, v1alpha1.ConditionRegistered, registrationEndpointOf},
	{stepUnregister, v1alpha1.ConditionRegistered, nobody},
	{stepProbe, v1alpha1.ConditionProbed, mcpServer},
}

// importance of a step's failure: the less, the more important.
func importance(s step) int {
	return slices.IndexFunc(steps, func(row stepRow) bool { return row.step == s })
}

// asks is whom a step asks first.
func (s step) asks() peer {
	if i := importance(s); i >= 0 {
		return steps[i].asks
	}
	return nobody
}
