package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// logSize is the end of the node's log so far.
func (n *node) logSize() int64 {
	info, err := os.Stat(n.logPath)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSays reports whether the node's log has text somewhere behind offset.
func (n *node) logSays(offset int64, text string) bool {
	f, err := os.Open(n.logPath)
	if err != nil {
		return false
	}
	defer f.Close()
	rest, err := io.ReadAll(io.NewSectionReader(f, offset, 1<<62))
	return err == nil && strings.Contains(string(rest), text)
}

// alarms are what Go's runtime and its race detector print, and net/http when a
// handler panics. No log of a node may have any.
var alarms = []string{"panic:", "panic serving", "fatal error:", "DATA RACE", "unexpected signal"}

// checkLog looks for alarms in a log.
func checkLog(name string, log io.Reader) error {
	var wrong faults
	lines := bufio.NewReader(log)
	for no := 1; ; no++ {
		line, err := lines.ReadString('\n')
		for _, a := range alarms {
			if strings.Contains(line, a) {
				wrong.add("%s:%d: %s", name, no, strings.TrimSpace(line))
			}
		}
		if errors.Is(err, io.EOF) {
			return wrong.err()
		} else if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// checkLog looks for alarms in the node's log.
func (n *node) checkLog() error {
	f, err := os.Open(n.logPath)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkLog(n.logPath, f)
}
