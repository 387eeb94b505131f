// Package crashpoint names the places between two effects of a spend at which a program can be told to die or
// to freeze. Only a program that is built with the tag faults can (test/faults); in any other, nothing is
// left of the points.
//
// A spend claims a single-use secret, sends it, saves the answer and publishes the token. Whatever a process
// has done when it dies, the next one must lose no grant and spend no secret twice. The reconciler calls Hit
// between each two of these effects; the faults programme arms one point at a time:
//
//	BeforeClaim → claim → AfterClaim → send → AfterSend → answer → AfterAnswer
//	→ save → AfterSave → publish → AfterPublish
//
// A point is armed by a file of its name in the folder that MCP_CONNECTION_FAULTS names. The first process to
// come by takes the file, so that a point fires once: it leaves NAME.PID in its place, and is killed, or
// stopped if the file says STOP.
package crashpoint

// Point is a place between two effects of a spend, and the name of the file that arms it.
type Point string

// The points, in the order in which a spend passes them.
const (
	BeforeClaim  Point = "before-claim"
	AfterClaim   Point = "after-claim"
	AfterSend    Point = "after-send"
	AfterAnswer  Point = "after-answer"
	AfterSave    Point = "after-save"
	AfterPublish Point = "after-publish"
)
