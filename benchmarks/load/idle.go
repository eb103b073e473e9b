package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
)

// anonymous reads the anonymous memory of a process in bytes.
func anonymous(pid int) (int64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if rest, found := strings.CutPrefix(lines.Text(), "RssAnon:"); found {
			var kibibytes int64
			_, err := fmt.Sscan(rest, &kibibytes)
			return kibibytes * 1024, err
		}
	}
	return 0, errors.New("no RssAnon in /proc")
}

// runIdle opens watchers of one key each, none of which ever changes, and gives what each costs
// the member of `-pid` in anonymous memory, connections and streams included.
func runIdle(ctx context.Context, o *options) (*report, error) {
	before, err := anonymous(o.pid)
	if err != nil {
		return nil, fmt.Errorf("-pid: %w", err)
	}
	conns, err := o.connect(ctx, max(1, min(o.conns, o.streams)))
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	streams := make([]grpc.ClientStream, o.streams)
	next := int64(0)
	for i := range streams {
		share := int64(o.watchers / o.streams)
		if i < o.watchers%o.streams {
			share++
		}
		keys := make([]string, share)
		for j := range keys {
			keys[j] = o.keyAt(next)
			next++
		}
		if streams[i], err = openWatches(bounded, conns[i%len(conns)], keys); err != nil {
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
	}
	time.Sleep(time.Duration(o.seconds * float64(time.Second)))
	after, err := anonymous(o.pid)
	if err != nil {
		return nil, err
	}
	return &report{Count: next, BytesEach: float64(after-before) / float64(next)}, nil
}
