package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// section is one measure in the document.
type section struct {
	title   string
	about   string
	tables  []table
	plots   []plot
	reaches []reach
	notes   []string
}

type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// reach is a goal and the figure that was measured. cause says why the goal was
// missed; it is written only then.
type reach struct {
	what, goal, got string
	met             bool
	cause           string
}

func (r reach) verdict() string {
	if r.met {
		return "met"
	}
	return "**missed**"
}

func (t table) markdown() string {
	var b strings.Builder
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	row(rule)
	for _, r := range t.rows {
		row(r)
	}
	return b.String()
}

// plot is a picture of horizontal bars, or of lines over a logarithmic axis.
type plot struct {
	file, title, unit string
	bars              []bar
	log               bool // the values' axis
	lines             []line
	xs                []string
}

type bar struct {
	name  string
	value float64
	ours  bool
}

type line struct {
	name   string
	values []float64
	ours   bool
}

const style = `<style>
text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:14px}.v{fill:#57606a}.ours{fill:#0a7d4f;stroke:#0a7d4f}.peer{fill:#8a94a3;stroke:#8a94a3}
.axis{stroke:#8a94a355;stroke-width:1}polyline{fill:none!important;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.v{fill:#9da7b3}.ours{fill:#3fb984;stroke:#3fb984}.peer{fill:#77818f;stroke:#77818f}}
</style>`

func (p plot) svg() string {
	if p.lines != nil {
		return p.svgLines()
	}
	const left, width, right, step = 320, 400, 110, 26
	height := 44 + step*len(p.bars)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`,
		left+width+right, height, left+width+right, height, html.EscapeString(p.title))
	b.WriteString(style)
	most, least := 0.0, math.Inf(1)
	for _, x := range p.bars {
		most = max(most, x.value)
		if x.value > 0 {
			least = min(least, x.value)
		}
	}
	fmt.Fprintf(&b, `<text class="t" x="8" y="20">%s</text>`, html.EscapeString(p.title))
	for i, x := range p.bars {
		y := 38 + step*i
		w := 0.0
		switch {
		case p.log && x.value > 0:
			w = width * (0.05 + 0.95*math.Log(x.value/least)/max(math.Log(most/least), 1e-9))
		case most > 0:
			w = width * x.value / most
		}
		class := "peer"
		if x.ours {
			class = "ours"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" stroke="none" x="%d" y="%d" width="%.1f" height="16" rx="2"/>`,
			left-10, y+13, html.EscapeString(x.name), class, left, y, max(w, 1.5))
		fmt.Fprintf(&b, `<text class="v" x="%.1f" y="%d">%s %s</text>`, left+max(w, 1.5)+6, y+13, number(x.value), html.EscapeString(p.unit))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p plot) svgLines() string {
	const left, width, right, top, tall = 70, 420, 220, 40, 200
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`,
		left+width+right, top+tall+40, left+width+right, top+tall+40, html.EscapeString(p.title))
	b.WriteString(style)
	fmt.Fprintf(&b, `<text class="t" x="8" y="20">%s</text>`, html.EscapeString(p.title))
	least, most := math.Inf(1), 0.0
	for _, l := range p.lines {
		for _, v := range l.values {
			if v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	if high <= low {
		high = low + 1
	}
	y := func(v float64) float64 {
		return top + tall - tall*(math.Log10(max(v, math.Pow(10, low)))-low)/(high-low)
	}
	x := func(i int) float64 { return left + 10 + float64(i)*(width-20)/float64(max(len(p.xs)-1, 1)) }
	for e := low; e <= high; e++ {
		at := y(math.Pow(10, e))
		fmt.Fprintf(&b, `<line class="axis" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="v" x="%d" y="%.1f" text-anchor="end">%s %s</text>`,
			left, left+width, at, at, left-6, at+4, number(math.Pow(10, e)), html.EscapeString(p.unit))
	}
	for i, name := range p.xs {
		fmt.Fprintf(&b, `<text class="v" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(i), top+tall+22, html.EscapeString(name))
	}
	// The names stand at the ends of the lines. They must not overlap.
	taken := []float64{}
	for n, l := range p.lines {
		class, dash := "peer", ""
		if l.ours {
			class = "ours"
		}
		if n%2 == 1 {
			dash = ` stroke-dasharray="5 4"`
		}
		var points []string
		for i, v := range l.values {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), y(v)))
		}
		end := y(l.values[len(l.values)-1]) + 4
		for moved := true; moved; {
			moved = false
			for _, t := range taken {
				if math.Abs(end-t) < 15 {
					end, moved = t+15, true
				}
			}
		}
		taken = append(taken, end)
		fmt.Fprintf(&b, `<polyline class="%s"%s points="%s"/><text x="%d" y="%.1f">%s</text>`, class, dash, strings.Join(points, " "), left+width+8, end, html.EscapeString(l.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// write writes the document and its pictures into dir.
func write(dir, head string, sections []section) error {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("\n## Reached and not\n\n")
	sum := table{head: []string{"Measure", "Goal", "Measured", ""}}
	for _, s := range sections {
		for _, r := range s.reaches {
			sum.add(r.what, r.goal, r.got, r.verdict())
		}
	}
	b.WriteString(sum.markdown())
	missed := ""
	for _, s := range sections {
		for _, r := range s.reaches {
			if !r.met && r.cause != "" {
				missed += fmt.Sprintf("- %s: %s\n", r.what, r.cause)
			}
		}
	}
	if missed != "" {
		b.WriteString("\nWhy some were missed:\n\n" + missed)
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.title, s.about)
		for _, p := range s.plots {
			if err := os.WriteFile(filepath.Join(dir, p.file), []byte(p.svg()), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(&b, "\n![%s](%s)\n", p.title, p.file)
		}
		for _, t := range s.tables {
			b.WriteString("\n" + t.markdown())
		}
		for _, n := range s.notes {
			fmt.Fprintf(&b, "\n%s\n", n)
		}
	}
	return os.WriteFile(filepath.Join(dir, "benchmarks.md"), []byte(b.String()), 0o644)
}
