package raft

import (
	"fmt"
	"strings"
	"time"
)

// This file is the end of a node: everything that was accepted completes (R15), and
// nobody waits for what hangs.

// shutdownPatience is how long Shutdown waits for a store or an FSM that hangs.
const shutdownPatience = 2 * time.Second

// stopWith ends the node because it cannot go on.
func (r *Raft) stopWith(err error) {
	if r.state == Shutdown {
		return
	}
	r.failure = err
	r.note.stopped(err)
	r.become(Shutdown, r.hard.term)
}

// end completes everything that waits for main, which has ended.
func (r *Raft) end() {
	r.publish()
	r.stopOnce.Do(func() { close(r.stopping) })
	close(r.ended)
	r.proposals.close(ErrRaftShutdown)
	r.readers.close(ErrRaftShutdown)
	for _, f := range r.settled {
		f.respond(ErrRaftShutdown)
	}
	for _, p := range r.unkept() {
		p.f(ErrRaftShutdown)
	}
	if r.handover != nil {
		r.expireHandover(ErrRaftShutdown)
	}
	if r.work.restore != nil {
		r.work.restore.done(ErrRaftShutdown)
	}
	for _, c := range append(r.taking.served, r.taking.waiting...) {
		c.future.respond(ErrRaftShutdown)
	}
	if r.intake != nil {
		r.intake.cancel()
	}
	r.fsm.waiters.close(ErrRaftShutdown)
	time.AfterFunc(shutdownPatience/2, r.fsm.abandon)
	r.notifier.stop()
}

// unkept returns the promises that wait for the disk.
func (r *Raft) unkept() []promise {
	promises := r.writer.fail()
	if b := r.writer.flying; b != nil {
		promises = append(promises, b.promises...)
	}
	return promises
}

type shutdownFuture struct{ raft *Raft }

func (f *shutdownFuture) Error() error {
	r := f.raft
	r.endOnce.Do(func() {
		go func() { // others wait for a channel, which testing/synctest knows of
			r.endErr = r.awaitEnd()
			close(r.finished)
		}()
	})
	<-r.finished
	return r.endErr
}

// awaitEnd closes the transport, so that calls under way return, and waits for the
// goroutines.
func (r *Raft) awaitEnd() error {
	<-r.ended
	if c, ok := r.trans.(WithClose); ok {
		if err := c.Close(); err != nil {
			r.logger.Error("failed to close the transport", "error", err)
		}
	}
	done := make(chan struct{})
	go func() {
		r.workers.Wait()
		close(done)
	}()
	patience := time.NewTimer(shutdownPatience)
	defer patience.Stop()
	select {
	case <-done:
		return nil
	case <-patience.C:
		return r.hanging()
	}
}

// hanging names what did not end in time. A call to another server is not worth an
// error: it ends by its own deadline and changes nothing here.
func (r *Raft) hanging() error {
	var what []string
	if r.writer.flying != nil {
		what = append(what, "a write to the stores")
	}
	if r.work.busy {
		what = append(what, "a call of the FSM")
	}
	if r.taking.busy {
		what = append(what, "a snapshot being stored")
	}
	if len(what) == 0 {
		return nil
	}
	return fmt.Errorf("raft was shut down, but after %v these still hang: %s", shutdownPatience, strings.Join(what, ", "))
}
