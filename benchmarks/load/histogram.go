package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width is 1/64 of their value: quantiles are exact
// to 1.6 per cent and recording is one increment. Not for concurrent use: one per worker.
type histogram struct {
	counts [64 * 64]int64
	n      int64
	sum    time.Duration
	max    time.Duration
}

func bucket(v uint64) int {
	if v < 64 {
		return int(v)
	}
	shift := bits.Len64(v) - 7
	return shift*64 + int(v>>uint(shift))
}

func lower(b int) uint64 {
	if b < 128 {
		return uint64(b)
	}
	shift := b/64 - 1
	return uint64(b-shift*64) << uint(shift)
}

func (h *histogram) record(d time.Duration) {
	if d < 0 {
		d = 0
	}
	h.counts[bucket(uint64(d))]++
	h.n++
	h.sum += d
	if d > h.max {
		h.max = d
	}
}

func (h *histogram) merge(other *histogram) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
	h.sum += other.sum
	if other.max > h.max {
		h.max = other.max
	}
}

func (h *histogram) quantile(q float64) float64 {
	want := int64(q * float64(h.n))
	var seen int64
	for i, c := range h.counts {
		seen += c
		if seen > want {
			return float64(lower(i)) / 1e3
		}
	}
	return float64(h.max) / 1e3
}

func (h *histogram) summary() map[string]float64 {
	if h.n == 0 {
		return nil
	}
	return map[string]float64{
		"mean": float64(h.sum) / float64(h.n) / 1e3,
		"p50":  h.quantile(0.5),
		"p90":  h.quantile(0.9),
		"p99":  h.quantile(0.99),
		"max":  float64(h.max) / 1e3,
	}
}
