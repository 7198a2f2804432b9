package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// For benchstat: go test -bench . -count 10
func BenchmarkWarm(b *testing.B) {
	contenders, end, err := warmContenders(b.TempDir())
	require.NoError(b, err)
	defer end()
	for _, c := range contenders {
		name := strings.ReplaceAll(c.name, " ", "_")
		b.Run(name+"/alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.call()
			}
		})
		b.Run(name+"/contended", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c.call()
				}
			})
		})
	}
}
