package raft

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// number is an observation that tests know by its number.
func number(i int) Observation { return Observation{Data: i} }

// drain returns what lies in a channel.
func drain[T any](ch <-chan T) (got []T) {
	for {
		select {
		case v := <-ch:
			got = append(got, v)
		default:
			return got
		}
	}
}

func numbers(observations []Observation) (got []int) {
	for _, o := range observations {
		got = append(got, o.Data.(int))
	}
	return got
}

func count1to(n int) (got []int) {
	for i := 1; i <= n; i++ {
		got = append(got, i)
	}
	return got
}

// LeaderCh has the newest change, NotifyCh every one, in order, however late they are
// read (L12).
func TestNotifierLeadership(t *testing.T) {
	for _, room := range []int{0, 1, 10} {
		synctest.Test(t, func(t *testing.T) {
			notify := make(chan bool, room)
			n := newNotifier(notify)
			defer n.stop()
			for _, leads := range []bool{true, false, true} {
				n.leadership(leads)
			}
			if got := drain(n.leaderCh()); !slices.Equal(got, []bool{true}) {
				t.Errorf("room %d: LeaderCh has %v", room, got)
			}
			var got []bool
			for range 3 {
				time.Sleep(time.Hour)
				got = append(got, <-notify)
			}
			if !slices.Equal(got, []bool{true, false, true}) {
				t.Errorf("room %d: NotifyCh has %v", room, got)
			}
			synctest.Wait()
			n.leadership(false)
			if got := drain(n.leaderCh()); !slices.Equal(got, []bool{false}) {
				t.Errorf("room %d: LeaderCh has %v", room, got)
			}
			if v := <-notify; v {
				t.Errorf("room %d: NotifyCh has true", room)
			}
		})
	}
}

// What a channel has room for is there when leadership returns.
func TestNotifierDeliversAtOnce(t *testing.T) {
	notify := make(chan bool, 2)
	n := newNotifier(notify)
	n.leadership(true)
	n.leadership(false)
	if got := drain(notify); !slices.Equal(got, []bool{true, false}) {
		t.Errorf("NotifyCh has %v", got)
	}
}

func TestNotifierWithoutListeners(t *testing.T) {
	n := newNotifier(nil)
	n.leadership(true)
	n.observe(number(1))
	n.deregister(NewObserver(nil, false, nil))
	n.stop()
	n.leadership(false)
}

func TestNotifierObservers(t *testing.T) {
	even := func(o *Observation) bool { return o.Data.(int)%2 == 0 }
	for _, tt := range []struct {
		name              string
		room              int
		blocking          bool
		filter            FilterFn
		late              bool // the channel is read after the last observation only
		want              []int
		observed, dropped uint64
	}{
		{"non-blocking", 4, false, nil, true, []int{1, 2, 3, 4}, 4, 2},
		{"non-blocking filter", 2, false, even, true, []int{2, 4}, 2, 1},
		{"blocking", 1, true, nil, true, count1to(6), 6, 0},
		{"blocking filter", 0, true, even, true, []int{2, 4, 6}, 3, 0},
		{"blocking, read at once", 0, true, nil, false, count1to(6), 6, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan Observation, tt.room)
			or := NewObserver(ch, tt.blocking, tt.filter)
			n := newNotifier(nil)
			n.register(or)
			n.register(or) // once more is not twice
			var got []Observation
			read := func() {
				for {
					synctest.Wait()
					more := drain(ch)
					if got = append(got, more...); len(more) == 0 {
						return
					}
				}
			}
			for i := 1; i <= 6; i++ {
				n.observe(number(i))
				if !tt.late {
					read()
				}
			}
			read()
			if !slices.Equal(numbers(got), tt.want) {
				t.Errorf("%s: got %v, want %v", tt.name, numbers(got), tt.want)
			}
			if or.GetNumObserved() != tt.observed || or.GetNumDropped() != tt.dropped {
				t.Errorf("%s: observed %d, dropped %d, want %d, %d", tt.name,
					or.GetNumObserved(), or.GetNumDropped(), tt.observed, tt.dropped)
			}
			n.stop()
		})
	}
}

// A filter alone, without a channel, sees everything.
func TestNotifierFilterOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []int
		or := NewObserver(nil, true, func(o *Observation) bool {
			seen = append(seen, o.Data.(int))
			return true
		})
		n := newNotifier(nil)
		n.register(or)
		for i := 1; i <= 3; i++ {
			n.observe(number(i))
		}
		n.stop()
		if !slices.Equal(seen, count1to(3)) {
			t.Errorf("filter saw %v", seen)
		}
		if or.GetNumObserved() != 0 || or.GetNumDropped() != 0 {
			t.Errorf("observed %d, dropped %d", or.GetNumObserved(), or.GetNumDropped())
		}
	})
}

// An observer that nobody reads has a bounded queue, is counted, and holds up neither
// the node nor another observer (A9).
func TestNotifierStuckObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := NewObserver(make(chan Observation), true, nil)
		never := make(chan struct{})
		inFilter := NewObserver(nil, false, func(*Observation) bool { <-never; return false })
		ch := make(chan Observation, 2*maxObservations)
		healthy := NewObserver(ch, false, nil)
		n := newNotifier(nil)
		for _, or := range []*Observer{stuck, inFilter, healthy} {
			n.register(or)
		}
		const extra = 10
		for i := 1; i <= maxObservations+extra; i++ {
			n.observe(number(i))
			synctest.Wait()
		}
		if got := numbers(drain(ch)); !slices.Equal(got, count1to(maxObservations+extra)) {
			t.Errorf("the healthy observer got %d", len(got))
		}
		// One is in the hands of the goroutine.
		if got := stuck.GetNumDropped(); got != extra-1 {
			t.Errorf("dropped %d, want %d", got, extra-1)
		}
		close(never)
		n.stop()
	})
}

// After deregister returns, which it does at once, nothing is sent: the caller closes
// the channel, and a send would panic.
func TestNotifierDeregister(t *testing.T) {
	for _, tt := range []struct {
		name     string
		blocking bool
		inFilter bool
	}{
		{"waits for room", true, false},
		{"in its filter", false, true},
		{"in its filter, would wait for room", true, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			var filter FilterFn
			leave, filtered := make(chan struct{}), 0
			if tt.inFilter {
				filter = func(*Observation) bool { filtered++; <-leave; return true }
			}
			ch := make(chan Observation)
			or := NewObserver(ch, tt.blocking, filter)
			n := newNotifier(nil)
			n.register(or)
			n.observe(number(1))
			n.observe(number(2))
			synctest.Wait()
			n.register(or) // it is registered once all the same
			start := time.Now()
			n.deregister(or)
			n.deregister(or)
			close(ch)
			if d := time.Since(start); d != 0 {
				t.Errorf("%s: deregister took %v", tt.name, d)
			}
			close(leave)
			n.observe(number(3))
			synctest.Wait()
			if got := or.GetNumObserved(); got != 0 || filtered > 1 {
				t.Errorf("%s: observed %d, filtered %d", tt.name, got, filtered)
			}
		})
	}
}

// An observer may leave from within its own filter.
func TestNotifierDeregisterFromFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotifier(nil)
		ch := make(chan Observation, 1)
		var or *Observer
		or = NewObserver(ch, false, func(*Observation) bool {
			n.deregister(or)
			return true
		})
		n.register(or)
		n.observe(number(1))
		synctest.Wait()
		if got := drain(ch); len(got) != 0 {
			t.Errorf("got %v", got)
		}
	})
}

// stop delivers what there is room for, ends all goroutines (or the bubble would
// never end) and sends nothing afterwards.
func TestNotifierStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notify := make(chan bool)
		n := newNotifier(notify)
		roomy := make(chan Observation, 10)
		withRoom := NewObserver(roomy, true, func(*Observation) bool { return true })
		stuck := NewObserver(make(chan Observation), true, nil)
		n.register(withRoom)
		n.register(stuck)
		for i := 1; i <= 5; i++ {
			n.leadership(i%2 == 1)
			n.observe(number(i))
		}
		synctest.Wait()
		start := time.Now()
		n.stop()
		close(notify)
		if got := numbers(drain(roomy)); !slices.Equal(got, count1to(5)) {
			t.Errorf("got %v", got)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("stop took %v", d)
		}
		if got := stuck.GetNumDropped(); got != 5 {
			t.Errorf("dropped %d", got)
		}
		close(roomy)
		n.register(withRoom)
		n.observe(number(6))
		n.leadership(true)
		n.deregister(withRoom)
		n.stop()
	})
}

// A filter that does not return delays stop by no more than its patience.
func TestNotifierStopWithStuckFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		ch := make(chan Observation, 10)
		n := newNotifier(nil)
		for range 2 {
			n.register(NewObserver(ch, true, func(*Observation) bool { <-leave; return true }))
		}
		n.observe(number(1))
		start := time.Now()
		n.stop()
		if d := time.Since(start); d != notifierPatience {
			t.Errorf("stop took %v", d)
		}
		close(ch)
		close(leave)
	})
}

// Observations come from many goroutines while observers come and go.
func TestNotifierConcurrency(t *testing.T) {
	n := newNotifier(nil)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range 2000 {
				n.observe(number(i))
			}
		})
		wg.Go(func() {
			for i := range 200 {
				ch := make(chan Observation, 1)
				or := NewObserver(ch, i%2 == 0, func(o *Observation) bool { return o.Data.(int)%2 == i%3%2 })
				n.register(or)
				<-time.After(10 * time.Microsecond)
				n.deregister(or)
				close(ch)
			}
		})
	}
	wg.Wait()
	n.stop()
}

// Delivery to one observer keeps the order when the channel is now full and now not.
func TestNotifierKeepsOrder(t *testing.T) {
	const total = maxObservations // more could be dropped
	ch := make(chan Observation, 3)
	n := newNotifier(nil)
	n.register(NewObserver(ch, true, nil))
	defer n.stop()
	read := make(chan error)
	go func() {
		for i := range total {
			if o := <-ch; o.Data.(int) != i {
				read <- fmt.Errorf("got %v at %d", o.Data, i)
				return
			}
		}
		read <- nil
	}()
	for i := range total {
		n.observe(number(i))
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}
