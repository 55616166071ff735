// Package load measures a replicated state machine under load, whichever library
// runs it: a program builds a cluster, wraps it in a [System] and lets [Write],
// [Read], [Idle] or [Task] measure it. [Main] is the rest of such a program: its
// flags, and its result as one JSON object on standard output. A [Child] is a process
// for a node that is to have one of its own.
//
// The load is a closed loop: each client has one operation under way, and begins the
// next when that has returned. A fifth of the time is run first and not counted.
//
// Afterwards all nodes must have applied the same commands in the same order, each
// exactly once, or the measurement fails: see [Machine].
//
// The harness itself costs an operation one reading of the clock and one count in a
// shared histogram, no allocation. A write allocates its command, which belongs to the
// log then: that is part of the work, for every library alike.
package load
