package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// steady is what all workers of mode steady count together.
type steady struct {
	done, failed, puts, events atomic.Int64
	mutex                      sync.Mutex
	first                      error
}

func (s *steady) fail(what string, err error) {
	s.failed.Add(1)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.first == nil {
		s.first = fmt.Errorf("%s at %s: %w", what, time.Now().Format(time.RFC3339Nano), err)
	}
}

// runSteady asks for `-rate` puts, reads and txns a second until standard input ends, or -seconds
// are over, with etcd's client as its users have it: all its own settings, its own retry rules, and
// its own way with certificates, which are read at each handshake while CAs are read once. On each
// connection a watch must see each put once and in order, and a lease must be kept alive.
func runSteady(ctx context.Context, o *options) (*report, error) {
	bounded, cancel := context.WithTimeout(ctx, time.Duration(o.seconds*float64(time.Second)))
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	counted := &steady{}
	began := time.Now()
	flow := newProgress(o.seconds)
	var watchers, workers sync.WaitGroup
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	clients := make([]*clientv3.Client, o.conns)
	for i := range clients {
		c, err := o.plainClient()
		if err != nil {
			return nil, err
		}
		defer c.Close()
		clients[i] = c
		if err := counted.follow(watching, o, c, &watchers); err != nil {
			return nil, err
		}
	}
	for i := range o.clients {
		workers.Add(1)
		go func() {
			defer workers.Done()
			counted.work(bounded, o, clients[i%len(clients)], i, flow)
		}()
	}
	workers.Wait()
	wanted := counted.puts.Load() * int64(o.conns)
	for end := time.Now().Add(10 * time.Second); counted.events.Load() < wanted; {
		if time.Now().After(end) {
			counted.fail("watch", fmt.Errorf("%d events of %d", counted.events.Load(), wanted))
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stopWatching()
	watchers.Wait()
	found := &report{
		Count: counted.done.Load(), Errors: counted.failed.Load(), Puts: counted.puts.Load(),
		Events: counted.events.Load(), Seconds: time.Since(began).Seconds(),
	}
	_, found.PauseMs = flow.read(time.Now())
	if counted.first != nil {
		found.Error = counted.first.Error()
	}
	return found, nil
}

// plainClient makes a client with nothing set but where members are and who is trusted.
func (o *options) plainClient() (*clientv3.Client, error) {
	config, err := o.tls()
	if err != nil {
		return nil, err
	}
	if config != nil && o.cert != "" {
		config.Certificates = nil
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.cert, o.key)
			return &pair, err
		}
	}
	return clientv3.New(clientv3.Config{
		Endpoints:   strings.Split(o.endpoint, ","),
		TLS:         config,
		DialTimeout: 10 * time.Second,
		Logger:      zap.NewNop(),
	})
}

// follow opens a watch and a lease that last until the context ends.
func (s *steady) follow(ctx context.Context, o *options, c *clientv3.Client, all *sync.WaitGroup) error {
	made, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	lease, err := c.Grant(made, 5)
	if err != nil {
		return err
	}
	alive, err := c.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	created := make(chan struct{})
	watch := c.Watch(ctx, o.prefix+"put/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	all.Add(2)
	go func() {
		defer all.Done()
		var last int64
		for answer := range watch {
			if answer.Created {
				select {
				case <-created:
				default:
					close(created)
				}
			}
			if err := answer.Err(); err != nil && ctx.Err() == nil {
				s.fail("watch", err)
			}
			for _, event := range answer.Events {
				if event.Kv.ModRevision <= last {
					s.fail("watch", fmt.Errorf("revision %d after %d", event.Kv.ModRevision, last))
				}
				last = event.Kv.ModRevision
				s.events.Add(1)
			}
		}
		if ctx.Err() == nil {
			s.fail("watch", errors.New("it ended"))
		}
	}()
	go func() {
		defer all.Done()
		for range alive {
		}
		if ctx.Err() == nil {
			s.fail("lease", errors.New("it is kept alive no more"))
		}
	}()
	select {
	case <-created:
		return nil
	case <-made.Done():
		return errors.New("a watch was not made within 10 s")
	}
}

// work calls again and again, one call at a time, at its share of the rate.
func (s *steady) work(ctx context.Context, o *options, c *clientv3.Client, number int, flow *progress) {
	each := time.Duration(float64(o.clients) / o.rate * float64(time.Second))
	next := time.Now().Add(each * time.Duration(number) / time.Duration(o.clients))
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		next = next.Add(each)
		// What is under way when the load ends is waited for: nothing is given up.
		call, cancel := context.WithTimeout(context.Background(), time.Duration(o.timeout*float64(time.Second)))
		key := fmt.Sprintf("%sput/%d", o.prefix, number)
		var err error
		what := [...]string{"put", "range", "txn"}[turn%3]
		switch what {
		case "put":
			_, err = c.Put(call, key, fmt.Sprint(turn))
		case "range":
			_, err = c.Get(call, key)
		default:
			_, err = c.Txn(call).If(clientv3.Compare(clientv3.Version(key), ">", 0)).
				Then(clientv3.OpPut(key, fmt.Sprint(turn))).Else(clientv3.OpPut(key, "first")).Commit()
		}
		cancel()
		if err != nil {
			s.fail(what, err)
		} else {
			s.done.Add(1)
			flow.note(time.Now())
			if what != "range" {
				s.puts.Add(1)
			}
		}
	}
}
