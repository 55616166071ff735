// Package scenarios takes a Raft library through histories that hurt some: each is a
// function that names the hazard, builds the least that it needs, and decides from
// facts (what the FSM holds, what the stores hold, what was answered) whether the
// library is safe there. It uses only the API that hashicorp/raft v1.8.0 and this
// library share, so that one source judges both.
//
// Most histories have one real server. The others are peers that follow a script; they
// and the server speak through the package's own network.
//
// A process runs one scenario and ends, so nothing here cleans up.
package scenarios
