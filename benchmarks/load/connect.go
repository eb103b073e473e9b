package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func (o *options) tls() (*tls.Config, error) {
	if !strings.HasPrefix(o.endpoint, "https://") {
		return nil, nil
	}
	pem, err := os.ReadFile(o.cacert)
	if err != nil {
		return nil, fmt.Errorf("-cacert: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("-cacert: no certificate in it")
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, fmt.Errorf("-cert, -key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// connect opens n connections and waits until each has answered once.
func (o *options) connect(ctx context.Context, n int) ([]*clientv3.Client, error) {
	config, err := o.tls()
	if err != nil {
		return nil, err
	}
	clients := make([]*clientv3.Client, n)
	for i := range clients {
		c, err := clientv3.New(clientv3.Config{
			Endpoints:            strings.Split(o.endpoint, ","),
			TLS:                  config,
			DialTimeout:          10 * time.Second,
			Logger:               zap.NewNop(),
			MaxCallSendMsgSize:   64 << 20,
			MaxCallRecvMsgSize:   256 << 20,
			MaxUnaryRetries:      1,
			BackoffWaitBetween:   10 * time.Millisecond,
			RejectOldCluster:     false,
			PermitWithoutStream:  false,
			DialKeepAliveTime:    0,
			DialKeepAliveTimeout: 0,
		})
		if err != nil {
			return nil, err
		}
		first, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err = c.Get(first, "\x00connected", clientv3.WithSerializable())
		cancel()
		if err != nil {
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
		clients[i] = c
	}
	return clients, nil
}

// runFirst measures from -since to the first linearizable answer: TCP is tried every
// millisecond, because the gRPC client's own back-off would be what is measured.
func runFirst(ctx context.Context, o *options) (*report, error) {
	address, err := url.Parse(o.endpoint)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(time.Duration(o.seconds * float64(time.Second)))
	for {
		probe, err := net.DialTimeout("tcp", address.Host, time.Second)
		if err == nil {
			probe.Close()
			break
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
	for {
		answered, err := o.firstAnswer(ctx)
		if err == nil {
			began := time.Unix(0, o.since)
			return &report{Count: 1, Seconds: answered.Sub(began).Seconds()}, nil
		}
		if time.Now().After(deadline) {
			return nil, err
		}
	}
}

func (o *options) firstAnswer(ctx context.Context) (time.Time, error) {
	config, err := o.tls()
	if err != nil {
		return time.Time{}, err
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{o.endpoint}, TLS: config, Logger: zap.NewNop(),
	})
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err = c.Get(call, fmt.Sprintf("%08d", 0))
	return time.Now(), err
}
