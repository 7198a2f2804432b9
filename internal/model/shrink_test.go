package model

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// shrink returns a smaller sequence that still breaks a rule. fails plays one.
func shrink(seq sequence, fails func(sequence) bool) sequence {
	for again := true; again; {
		again = false
		for i := len(seq.Ops) - 1; i >= 0; i-- {
			less := seq
			less.Ops = slices.Delete(slices.Clone(seq.Ops), i, i+1)
			if fails(less) {
				seq, again = less, true
			}
		}
		for _, less := range simpler(seq) {
			if fails(less) {
				seq, again = less, true
				break
			}
		}
	}
	return seq
}

// simpler returns seq with one field less, for every field that is set.
func simpler(seq sequence) (out []sequence) {
	fresh := func() sequence {
		s := seq
		s.Ops = slices.Clone(seq.Ops)
		return s
	}
	if seq.File {
		s := fresh()
		s.File = false
		out = append(out, s)
	}
	if seq.Browser {
		s := fresh()
		s.Browser = false
		out = append(out, s)
	}
	each(reflect.ValueOf(seq.Provider), func(i int) {
		s := fresh()
		reflect.ValueOf(&s.Provider).Elem().Field(i).SetZero()
		out = append(out, s)
	})
	for n, o := range seq.Ops {
		each(reflect.ValueOf(o), func(i int) {
			if slices.Contains([]string{"Do", "At", "Answer", "Wait"}, reflect.TypeOf(o).Field(i).Name) {
				return
			}
			s := fresh()
			reflect.ValueOf(&s.Ops[n]).Elem().Field(i).SetZero()
			out = append(out, s)
		})
		each(reflect.ValueOf(o.Answer), func(i int) {
			// A body belongs to a status, and an error to its code.
			name := reflect.TypeOf(o.Answer).Field(i).Name
			if name == "Status" && o.Answer.Body != "" || slices.Contains([]string{"Code", "Lost", "Body"}, name) {
				return
			}
			s := fresh()
			reflect.ValueOf(&s.Ops[n].Answer).Elem().Field(i).SetZero()
			out = append(out, s)
		})
	}
	return out
}

// each calls f for every field of v that is not zero.
func each(v reflect.Value, f func(i int)) {
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			f(i)
		}
	}
}

// source is seq as Go text.
func (s sequence) source() string {
	var b strings.Builder
	b.WriteString("sequence{\n")
	if text := literal(reflect.ValueOf(s.Provider)); text != "habits{}" {
		fmt.Fprintf(&b, "\tProvider: %s,\n", text)
	}
	if s.File {
		b.WriteString("\tFile: true,\n")
	}
	if s.Browser {
		b.WriteString("\tBrowser: true,\n")
	}
	b.WriteString("\tOps: []op{\n")
	for _, o := range s.Ops {
		fmt.Fprintf(&b, "\t\t%s,\n", strings.TrimPrefix(literal(reflect.ValueOf(o)), "op"))
	}
	b.WriteString("\t},\n}")
	return b.String()
}

// literal is v as Go text, without the fields that are zero.
func literal(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		if d%time.Minute == 0 {
			return fmt.Sprintf("%d * time.Minute", d/time.Minute)
		}
		return fmt.Sprintf("%d * time.Second", d/time.Second)
	}
	if v.Kind() != reflect.Struct {
		return fmt.Sprintf("%#v", v.Interface())
	}
	var fields []string
	each(v, func(i int) {
		fields = append(fields, v.Type().Field(i).Name+": "+literal(v.Field(i)))
	})
	return v.Type().Name() + "{" + strings.Join(fields, ", ") + "}"
}

// asTest is seq as a Go test.
func (s sequence) asTest(v *violation) string {
	source := strings.ReplaceAll(s.source(), "\n", "\n\t")
	return fmt.Sprintf("// %s\nfunc TestFound(t *testing.T) {\n\tcheck(t, %s)\n}\n", v, source)
}
