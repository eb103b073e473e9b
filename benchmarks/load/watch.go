package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// rawCodec passes messages as bytes: counting events must not cost what decoding them costs.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append((*message.(*[]byte))[:0], data...)
	return nil
}

const (
	fieldCreated  = 3
	fieldCanceled = 4
	fieldEvents   = 11
)

// scan counts the events of a serialised WatchResponse and tells whether it announces a watcher.
func scan(data []byte) (events int64, created, canceled bool, err error) {
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 {
			return 0, false, false, errors.New("bad tag")
		}
		data = data[n:]
		value, n := binary.Uvarint(data)
		if n <= 0 {
			return 0, false, false, errors.New("bad field")
		}
		data = data[n:]
		if tag&7 == 2 {
			if value > uint64(len(data)) {
				return 0, false, false, errors.New("short field")
			}
			data = data[value:]
		}
		switch tag >> 3 {
		case fieldEvents:
			events++
		case fieldCreated:
			created = value != 0
		case fieldCanceled:
			canceled = value != 0
		}
	}
	return events, created, canceled, nil
}

// openWatches opens one watch stream with a watcher of each of `keys`, all confirmed.
func openWatches(ctx context.Context, c *clientv3.Client, keys []string) (grpc.ClientStream, error) {
	description := &grpc.StreamDesc{StreamName: "Watch", ServerStreams: true, ClientStreams: true}
	stream, err := c.ActiveConnection().NewStream(ctx, description, "/etcdserverpb.Watch/Watch",
		grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(256<<20))
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		request := pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte(key)},
		}}
		message, err := request.Marshal()
		if err != nil {
			return nil, err
		}
		if err := stream.SendMsg(&message); err != nil {
			return nil, err
		}
	}
	buffer := []byte{}
	for confirmed := 0; confirmed < len(keys); {
		if err := stream.RecvMsg(&buffer); err != nil {
			return nil, err
		}
		_, created, canceled, err := scan(buffer)
		if err != nil {
			return nil, err
		}
		if canceled {
			return nil, errors.New("watcher cancelled by the member")
		}
		if created {
			confirmed++
		}
	}
	return stream, nil
}

// runFanout puts one key and counts the events all its watchers get. At most `ahead` puts are
// undelivered at any time, so that the rate is that of delivery and not of a growing backlog.
func runFanout(ctx context.Context, o *options) (*report, error) {
	const ahead = 64
	conns, err := o.connect(ctx, max(1, min(o.conns, o.streams)))
	if err != nil {
		return nil, err
	}
	writers, err := o.connect(ctx, 1)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	key := o.keyAt(0)
	var delivered, puts atomic.Int64
	failures := make(chan error, o.streams+o.clients)
	arrived := make(chan struct{}, 1)
	for i := range o.streams {
		share := o.watchers / o.streams
		if i < o.watchers%o.streams {
			share++
		}
		stream, err := openWatches(bounded, conns[i%len(conns)], slices.Repeat([]string{key}, share))
		if err != nil {
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
		go countEvents(bounded, stream, &delivered, arrived, failures)
	}
	value := strings.Repeat("v", o.valueBytes)
	for range o.clients {
		go func() {
			for bounded.Err() == nil {
				if puts.Load()*int64(o.watchers)-delivered.Load() > ahead*int64(o.watchers) {
					select {
					case <-arrived:
					case <-time.After(time.Millisecond):
					}
					continue
				}
				puts.Add(1)
				if _, err := writers[0].Put(bounded, key, value); err != nil && bounded.Err() == nil {
					failures <- err
					return
				}
			}
		}()
	}
	time.Sleep(time.Duration(o.warmup * float64(time.Second)))
	began, before, putsBefore := time.Now(), delivered.Load(), puts.Load()
	select {
	case err := <-failures:
		return nil, err
	case <-time.After(time.Duration(o.seconds * float64(time.Second))):
	}
	seconds := time.Since(began).Seconds()
	events := delivered.Load() - before
	return &report{Count: events, Events: events, Puts: puts.Load() - putsBefore, Seconds: seconds}, nil
}

func countEvents(ctx context.Context, stream grpc.ClientStream, delivered *atomic.Int64,
	arrived chan<- struct{}, failures chan<- error) {
	buffer := []byte{}
	for {
		if err := stream.RecvMsg(&buffer); err != nil {
			if ctx.Err() == nil {
				failures <- err
			}
			return
		}
		events, _, canceled, err := scan(buffer)
		if err == nil && canceled {
			err = errors.New("watcher cancelled by the member")
		}
		if err != nil {
			failures <- err
			return
		}
		delivered.Add(events)
		select {
		case arrived <- struct{}{}:
		default:
		}
	}
}

// runWatchLatency puts at a fixed rate; the time from just before the put to the event's arrival
// is what is recorded. Late puts are sent at once but timed from when they were due. Meanwhile the
// member may be disturbed.
func runWatchLatency(ctx context.Context, o *options) (*report, error) {
	conns, err := o.connect(ctx, 2)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	key := o.keyAt(0)
	watch := conns[0].Watch(bounded, key, clientv3.WithCreatedNotify())
	<-watch
	total := int64(o.rate * o.seconds)
	result := &report{}
	done := make(chan error, 1)
	var latencies histogram
	go func() {
		for response := range watch {
			now := time.Now().UnixNano()
			for _, event := range response.Events {
				text, _, _ := strings.Cut(string(event.Kv.Value), " ")
				due, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					done <- err
					return
				}
				latencies.record(time.Duration(now - due))
				if latencies.n == total {
					done <- nil
					return
				}
			}
		}
		done <- errors.New("watch ended early")
	}()
	calm := func() (int64, error) { return 0, nil }
	if o.disturbance != "" {
		if calm, err = o.disturb(ctx); err != nil {
			return nil, err
		}
	}
	padding := strings.Repeat("v", max(0, o.valueBytes-20))
	began := time.Now()
	slots := make(chan struct{}, 1000)
	for i := range total {
		due := began.Add(time.Duration(float64(i) / o.rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			if _, err := conns[1].Put(bounded, key, fmt.Sprintf("%d %s", due.UnixNano(), padding)); err != nil && bounded.Err() == nil {
				select {
				case done <- err:
				default:
				}
			}
		}()
	}
	select {
	case err = <-done:
	case <-time.After(10 * time.Second):
		err = errors.New("events missing ten seconds after the last put")
	}
	disturbed, disturbError := calm()
	if err = errors.Join(err, disturbError); err != nil {
		return nil, err
	}
	result.Disturbed = disturbed
	result.Count = latencies.n
	result.Latency = latencies.summary()
	return result, nil
}
