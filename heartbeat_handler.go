package raft

import "sync/atomic"

// heartbeatHandler is a transport's place for the function of
// Transport.SetHeartbeatHandler. Any goroutine may use it.
type heartbeatHandler struct{ f atomic.Pointer[func(RPC)] }

func (h *heartbeatHandler) set(f func(RPC)) {
	if f == nil {
		h.f.Store(nil)
		return
	}
	h.f.Store(&f)
}

// of returns the function if there is one and req is a heartbeat, else nil.
func (h *heartbeatHandler) of(req interface{}) func(RPC) {
	f := h.f.Load()
	if f == nil {
		return nil
	}
	if r, ok := req.(*AppendEntriesRequest); !ok || !isHeartbeat(r) {
		return nil
	}
	return *f
}
