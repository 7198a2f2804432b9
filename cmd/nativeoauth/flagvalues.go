package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
)

// seconds is a duration that the profile keeps as a number of seconds.
type seconds int64

// Set parses a value such as "8h30m". Fractions of a second are refused.
func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err == nil && d%time.Second != 0 {
		err = errors.New("give whole seconds")
	}
	*s = seconds(d / time.Second)
	return err
}

func (s *seconds) String() string {
	if *s == 0 {
		return "0" // which the help does not show as a default
	}
	return s.duration().String()
}

// Type is the name of the value in the help.
func (s *seconds) Type() string { return "duration" }

// ports are the ports of the redirect URI, in the order in which they are tried. The
// profile keeps a single one as a number.
type ports []uint16

// Set adds a port. 0 removes those before it: any free port will do.
func (p *ports) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return errors.New("give a number from 1 to 65535, or 0 for any free port")
	}
	if *p = append(*p, uint16(n)); n == 0 {
		*p = nil
	}
	return nil
}

func (p *ports) String() string {
	var texts []string
	for _, n := range *p {
		texts = append(texts, strconv.Itoa(int(n)))
	}
	return strings.Join(texts, ",")
}

// Type is the name of the value in the help.
func (p *ports) Type() string { return "port" }

// MarshalJSON writes a single port as a number, and several as a list.
func (p ports) MarshalJSON() ([]byte, error) {
	if len(p) == 1 {
		return json.Marshal(p[0])
	}
	return json.Marshal([]uint16(p))
}

// UnmarshalJSON reads both.
func (p *ports) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("[")) {
		return json.Unmarshal(data, (*[]uint16)(p))
	}
	*p = make(ports, 1)
	return json.Unmarshal(data, &(*p)[0])
}

func (s *seconds) duration() time.Duration { return time.Duration(*s) * time.Second }
