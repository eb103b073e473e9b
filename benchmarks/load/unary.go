package main

import (
	"context"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// progress counts completions per millisecond, which gives rates per second and the longest pause.
type progress struct {
	began time.Time
	slots []atomic.Int32
}

func newProgress(seconds float64) *progress {
	return &progress{began: time.Now(), slots: make([]atomic.Int32, int(seconds*1000)+2000)}
}

func (p *progress) note(at time.Time) {
	slot := int(at.Sub(p.began).Milliseconds())
	if slot >= 0 && slot < len(p.slots) {
		p.slots[slot].Add(1)
	}
}

func (p *progress) read(until time.Time) (perSecond []int64, pauseMs int64) {
	last := min(int(until.Sub(p.began).Milliseconds()), len(p.slots)-1)
	var gap int64
	for i := 0; i <= last; i++ {
		if i%1000 == 0 {
			perSecond = append(perSecond, 0)
		}
		n := int64(p.slots[i].Load())
		perSecond[len(perSecond)-1] += n
		if n == 0 {
			gap++
			pauseMs = max(pauseMs, gap)
		} else {
			gap = 0
		}
	}
	return perSecond, pauseMs
}

func (o *options) keyAt(index int64) string {
	return fmt.Sprintf("%s%0*d", o.prefix, o.keyBytes, index)
}

func (o *options) value(random *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"
	text := make([]byte, o.valueBytes)
	for i := range text {
		text[i] = letters[random.Intn(len(letters))]
	}
	return string(text)
}

type worker struct {
	histogram
	errors int64
	first  error
}

// call makes the operation of one worker; the key comes as an argument.
func (o *options) call(c *clientv3.Client, value string) func(context.Context, string) error {
	switch o.mode {
	case "range":
		var opts []clientv3.OpOption
		if o.serializable {
			opts = append(opts, clientv3.WithSerializable())
		}
		return func(ctx context.Context, key string) error {
			_, err := c.Get(ctx, key, opts...)
			return err
		}
	case "txn-put":
		return func(ctx context.Context, key string) error {
			_, err := c.Txn(ctx).Then(clientv3.OpPut(key, value)).Commit()
			return err
		}
	case "page":
		return func(ctx context.Context, key string) error {
			page, err := c.Get(ctx, key, clientv3.WithFromKey(), clientv3.WithLimit(o.limit))
			if err == nil && page.Count < int64(len(page.Kvs)) {
				err = fmt.Errorf("a page of %d keys with a count of %d", len(page.Kvs), page.Count)
			}
			return err
		}
	default:
		return func(ctx context.Context, key string) error {
			_, err := c.Put(ctx, key, value)
			return err
		}
	}
}

func runUnary(ctx context.Context, o *options) (*report, error) {
	conns, err := o.connect(ctx, min(o.conns, o.clients))
	if err != nil {
		return nil, err
	}
	length := o.seconds
	if o.total > 0 {
		length = 3600
	}
	var next atomic.Int64
	start := time.Now().Add(time.Duration(o.warmup * float64(time.Second)))
	end := start.Add(time.Duration(length * float64(time.Second)))
	flow := newProgress(length)
	flow.began = start
	workers := make([]worker, o.clients)
	var group sync.WaitGroup
	for i := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			o.work(ctx, &workers[i], conns[i%len(conns)], int64(i), &next, flow, start, end)
		}()
	}
	group.Wait()
	finished := time.Now()
	if finished.After(end) {
		finished = end
	}
	return o.summarise(workers, flow, start, finished), nil
}

func (o *options) work(ctx context.Context, w *worker, c *clientv3.Client, id int64,
	next *atomic.Int64, flow *progress, start, end time.Time) {
	random := rand.New(rand.NewSource(o.seed<<20 + id))
	call := o.call(c, o.value(random))
	limit := time.Duration(o.timeout * float64(time.Second))
	for {
		index := next.Add(1) - 1
		if o.total > 0 && index >= o.total {
			return
		}
		began := time.Now()
		if began.After(end) {
			return
		}
		key := index % o.keys
		if o.order == "random" {
			key = random.Int63n(o.keys)
		}
		bounded, cancel := context.WithTimeout(ctx, limit)
		err := call(bounded, o.keyAt(key))
		cancel()
		done := time.Now()
		if done.Before(start) || done.After(end) {
			continue
		}
		if err != nil {
			w.errors++
			w.first = err
			if w.errors > 100 {
				return
			}
			continue
		}
		w.record(done.Sub(began))
		flow.note(done)
	}
}

func (o *options) summarise(workers []worker, flow *progress, start, end time.Time) *report {
	var all histogram
	result := &report{Seconds: end.Sub(start).Seconds()}
	for i := range workers {
		all.merge(&workers[i].histogram)
		result.Errors += workers[i].errors
		if workers[i].first != nil {
			result.Error = workers[i].first.Error()
		}
	}
	result.Count = all.n
	result.Latency = all.summary()
	result.PerSecond, result.PauseMs = flow.read(end)
	return result
}

// runFill writes every key of the key space once, in txns, as fast as the member takes them.
func runFill(ctx context.Context, o *options) (*report, error) {
	conns, err := o.connect(ctx, o.conns)
	if err != nil {
		return nil, err
	}
	batch := int64(o.txnOps)
	if batch <= 1 {
		batch = 100
	}
	var next, written atomic.Int64
	failures := make(chan error, o.clients)
	var group sync.WaitGroup
	for i := range o.clients {
		group.Add(1)
		go func() {
			defer group.Done()
			random := rand.New(rand.NewSource(o.seed<<20 + int64(i)))
			value := o.value(random)
			for {
				from := next.Add(batch) - batch
				if from >= o.keys {
					return
				}
				ops := make([]clientv3.Op, 0, batch)
				for k := from; k < min(from+batch, o.keys); k++ {
					ops = append(ops, clientv3.OpPut(o.keyAt(k), value))
				}
				bounded, cancel := context.WithTimeout(ctx, time.Duration(o.timeout*float64(time.Second)))
				_, err := conns[i%len(conns)].Txn(bounded).Then(ops...).Commit()
				cancel()
				if err != nil {
					failures <- err
					return
				}
				written.Add(int64(len(ops)))
			}
		}()
	}
	group.Wait()
	select {
	case err := <-failures:
		return nil, err
	default:
		return &report{Count: written.Load()}, nil
	}
}
