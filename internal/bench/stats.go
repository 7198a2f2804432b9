package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// sample holds the figures of several runs of one measure.
type sample []float64

// at returns the q-quantile, interpolated linearly. It is 0 for an empty
// sample.
func (s sample) at(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	s = slices.Sorted(slices.Values(s))
	pos := q * float64(len(s)-1)
	low := int(pos)
	if low+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[low] + (pos-float64(low))*(s[low+1]-s[low])
}

func (s sample) median() float64 { return s.at(0.5) }

// text returns the median and the range of the middle half.
func (s sample) text() string {
	if len(s) == 0 {
		return "–"
	}
	if len(s) == 1 {
		return number(s[0])
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.median()), number(s.at(0.25)), number(s.at(0.75)))
}

// number formats v with three significant digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e6:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
