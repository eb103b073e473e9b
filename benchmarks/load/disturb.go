package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// disturbances keep a member busy for as long as their context lasts; each gives what it has done.
var disturbances = map[string]func(context.Context, *options, *clientv3.Client) (int64, error){
	"scan":     scanAll,
	"compact":  compactAll,
	"defrag":   defragAll,
	"snapshot": snapshotAll,
}

// disturb runs `clients` disturbances, each on a connection of its own, until the returned function
// is called; that waits for them and gives how much they have done: calls, or bytes of snapshots.
func (o *options) disturb(ctx context.Context) (stop func() (int64, error), err error) {
	work, known := disturbances[o.disturbance]
	if !known {
		return nil, fmt.Errorf("-disturb: no disturbance %q", o.disturbance)
	}
	conns, err := o.connect(ctx, o.clients)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	var mutex sync.Mutex
	var total int64
	var first error
	for _, c := range conns {
		group.Add(1)
		go func() {
			defer group.Done()
			for bounded.Err() == nil {
				done, err := work(bounded, o, c)
				mutex.Lock()
				total += done
				if err != nil && bounded.Err() == nil && first == nil {
					first = err
				}
				mutex.Unlock()
				if err != nil {
					return
				}
			}
		}()
	}
	return func() (int64, error) {
		cancel()
		group.Wait()
		return total, first
	}, nil
}

// scanAll reads everything under `-scan-prefix` once, and does not decode it: the time that takes
// must not be taken for the member's.
func scanAll(ctx context.Context, o *options, c *clientv3.Client) (int64, error) {
	request := pb.RangeRequest{
		Key:          []byte(o.scanPrefix),
		RangeEnd:     []byte(clientv3.GetPrefixRangeEnd(o.scanPrefix)),
		Serializable: true,
	}
	message, err := request.Marshal()
	if err != nil {
		return 0, err
	}
	answer := []byte{}
	err = c.ActiveConnection().Invoke(ctx, "/etcdserverpb.KV/Range", &message, &answer,
		grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(256<<20))
	if err == nil && len(answer) < int(o.keys)*o.valueBytes {
		err = fmt.Errorf("%d bytes under -scan-prefix, too few", len(answer))
	}
	return 1, err
}

// compactAll puts every key of the key space once more and compacts what was there before.
func compactAll(ctx context.Context, o *options, c *clientv3.Client) (int64, error) {
	again := *o
	again.conns, again.clients, again.prefix = 1, 1, o.scanPrefix
	if _, err := runFill(ctx, &again); err != nil {
		return 0, err
	}
	now, err := c.Get(ctx, "\x00", clientv3.WithSerializable())
	if err != nil {
		return 0, err
	}
	_, err = c.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	return 1, err
}

func defragAll(ctx context.Context, o *options, c *clientv3.Client) (int64, error) {
	_, err := c.Defragment(ctx, c.Endpoints()[0])
	return 1, err
}

// snapshotAll reads a snapshot to its end.
func snapshotAll(ctx context.Context, o *options, c *clientv3.Client) (int64, error) {
	snapshot, err := c.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer snapshot.Close()
	return io.Copy(io.Discard, snapshot)
}
