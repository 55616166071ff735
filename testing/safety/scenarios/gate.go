package scenarios

import "sync"

// gate lets everybody pass until it is shut, and nobody until it is opened.
type gate struct {
	mu      sync.Mutex
	barrier chan struct{} // nil while open
	waiting int
}

// pass returns when the gate is open.
func (g *gate) pass() {
	g.mu.Lock()
	barrier := g.barrier
	if barrier == nil {
		g.mu.Unlock()
		return
	}
	g.waiting++
	g.mu.Unlock()
	<-barrier
	g.mu.Lock()
	g.waiting--
	g.mu.Unlock()
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.barrier == nil {
		g.barrier = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.barrier != nil {
		close(g.barrier)
		g.barrier = nil
	}
}

// held reports whether anybody waits at the gate.
func (g *gate) held() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting > 0
}
