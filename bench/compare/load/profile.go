package load

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
)

// startProfiles begins the profiles that o names. The function that it returns ends
// and writes them.
func startProfiles(o Options) (stop func() error, err error) {
	stopCPU, err := startCPUProfile(o.CPUProfile)
	if err != nil {
		return nil, err
	}
	if o.MemProfile != "" {
		runtime.MemProfileRate = memProfileRate
	}
	return func() error {
		return errors.Join(stopCPU(), writeMemProfile(o.MemProfile))
	}, nil
}

func startCPUProfile(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, fmt.Errorf("CPU profile: %w", errors.Join(err, file.Close()))
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// memProfileRate is bytes between two samples: enough of them in a few seconds.
const memProfileRate = 64 << 10

// withoutMemProfile turns the profile of memory off until the measurement turns it on,
// so that it has nothing of the time before.
func withoutMemProfile() { runtime.MemProfileRate = 0 }

func writeMemProfile(name string) error {
	if name == "" {
		return nil
	}
	defer withoutMemProfile() // not before: samples are weighed by the rate at the end
	runtime.GC()              // what is allocated shows in the profile from the next collection on
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("memory profile: %w", err)
	}
	if err := pprof.Lookup("allocs").WriteTo(file, 0); err != nil {
		return fmt.Errorf("memory profile: %w", errors.Join(err, file.Close()))
	}
	return file.Close()
}
