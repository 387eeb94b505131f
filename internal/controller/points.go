package controller

// point is a place between two effects of a spend. A program built with the tag faults can be told to die there
// (test/faults); in any other, nothing is left of it.
type point string

const (
	beforeClaim  point = "before-claim"
	afterClaim   point = "after-claim"
	afterSend    point = "after-send"
	afterAnswer  point = "after-answer"
	afterSave    point = "after-save"
	afterPublish point = "after-publish"
)
