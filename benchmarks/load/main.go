// Command load drives an etcd v3 endpoint and prints what it measured as one JSON object.
//
// It knows nothing of the server's implementation: the same binary loads trioetcd and etcd, so
// that both are measured by the same client. See docs/performance.md for the cases.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

type options struct {
	mode, endpoint, cacert, cert, key string
	clients, conns                    int
	seconds, warmup                   float64
	total, keys                       int64
	keyBytes, valueBytes              int
	order                             string
	serializable                      bool
	txnOps                            int
	watchers, streams                 int
	rate                              float64
	prefix                            string
	since                             int64
	pid                               int
	limit                             int64
	disturbance, scanPrefix           string
	seed                              int64
	timeout                           float64
}

type report struct {
	Mode      string             `json:"mode"`
	Count     int64              `json:"count"`
	Errors    int64              `json:"errors"`
	Error     string             `json:"error,omitempty"`
	Seconds   float64            `json:"seconds"`
	Rate      float64            `json:"rate"`
	Latency   map[string]float64 `json:"latency_us,omitempty"`
	PauseMs   int64              `json:"pause_ms_max"`
	PerSecond []int64            `json:"per_second,omitempty"`
	Events    int64              `json:"events,omitempty"`
	Puts      int64              `json:"puts,omitempty"`
	BytesEach float64            `json:"bytes_each,omitempty"`
	Disturbed int64              `json:"disturbed,omitempty"`
}

var modes = map[string]func(context.Context, *options) (*report, error){
	"put":           runUnary,
	"range":         runUnary,
	"txn-put":       runUnary,
	"page":          runUnary,
	"fill":          runFill,
	"watch-fanout":  runFanout,
	"watch-latency": runWatchLatency,
	"idle":          runIdle,
	"first":         runFirst,
	"steady":        runSteady,
}

func parse() *options {
	o := &options{}
	flag.StringVar(&o.mode, "mode", "put", "put, range, txn-put, page, fill, watch-fanout, watch-latency, idle, first, steady")
	flag.StringVar(&o.endpoint, "endpoint", "https://127.0.0.1:2379", "where members serve clients, with commas between; calls take turns")
	flag.StringVar(&o.cacert, "cacert", "", "CA that signed the server's certificate")
	flag.StringVar(&o.cert, "cert", "", "client certificate")
	flag.StringVar(&o.key, "key", "", "its key")
	flag.IntVar(&o.clients, "clients", 100, "calls outstanding at once")
	flag.IntVar(&o.conns, "conns", 10, "TCP connections they share")
	flag.Float64Var(&o.seconds, "seconds", 20, "length of the measurement")
	flag.Float64Var(&o.warmup, "warmup", 0, "seconds of load before it, not counted")
	flag.Int64Var(&o.total, "total", 0, "stop after so many calls instead of after -seconds")
	flag.Int64Var(&o.keys, "keys", 10000, "size of the key space")
	flag.IntVar(&o.keyBytes, "key-bytes", 8, "length of a key")
	flag.IntVar(&o.valueBytes, "value-bytes", 256, "length of a value")
	flag.StringVar(&o.order, "order", "random", "random or sequential keys")
	flag.BoolVar(&o.serializable, "serializable", false, "serializable instead of linearizable ranges")
	flag.IntVar(&o.txnOps, "txn-ops", 1, "puts in one txn (fill: 100)")
	flag.IntVar(&o.watchers, "watchers", 1000, "watchers of one key")
	flag.IntVar(&o.streams, "streams", 10, "watch streams they share")
	flag.Float64Var(&o.rate, "rate", 100, "puts per second of watch-latency, calls per second of steady")
	flag.StringVar(&o.prefix, "prefix", "", "put in front of every key")
	flag.Int64Var(&o.since, "since", 0, "mode first: nanoseconds since 1970 at which the member was started")
	flag.IntVar(&o.pid, "pid", 0, "mode idle: the member's process, whose memory is looked at")
	flag.Int64Var(&o.limit, "limit", 500, "mode page: keys of a page")
	flag.StringVar(&o.disturbance, "disturb", "", "mode watch-latency: scan, compact, defrag or snapshot meanwhile, by -clients")
	flag.StringVar(&o.scanPrefix, "scan-prefix", "scanned/", "what scan reads and compact overwrites")
	flag.Int64Var(&o.seed, "seed", 1, "seed of the random keys")
	flag.Float64Var(&o.timeout, "timeout", 30, "seconds a call may take")
	flag.Parse()
	return o
}

func main() {
	o := parse()
	run, known := modes[o.mode]
	if !known {
		fmt.Fprintf(os.Stderr, "load: no mode %q\n", o.mode)
		os.Exit(2)
	}
	began := time.Now()
	result, err := run(context.Background(), o)
	if err != nil {
		fmt.Fprintf(os.Stderr, "load: %s: %v\n", o.mode, err)
		os.Exit(1)
	}
	result.Mode = o.mode
	if result.Seconds == 0 {
		result.Seconds = time.Since(began).Seconds()
	}
	if result.Rate == 0 && result.Seconds > 0 {
		result.Rate = float64(result.Count) / result.Seconds
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		os.Exit(1)
	}
}
