package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// wire is Fault without its methods.
type wire Fault

// wireFault is the JSON form: durations are strings such as "200ms".
type wireFault struct {
	wire
	Delay string `json:"delay,omitempty"`
}

func (f Fault) wire() wireFault {
	w := wireFault{wire: wire(f)}
	if f.Delay != 0 {
		w.Delay = f.Delay.String()
	}
	return w
}

// MarshalJSON renders durations as strings.
func (f Fault) MarshalJSON() ([]byte, error) { return json.Marshal(f.wire()) }

// UnmarshalJSON takes the parameters of Parse, as strings or numbers, and "name". It refuses what Parse
// refuses, except that without a name only the values are checked: Put checks the rest.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	return f.fromJSON(raw)
}

func (f *Fault) fromJSON(raw map[string]json.RawMessage) error {
	var got Fault
	for _, p := range slices.Sorted(maps.Keys(raw)) {
		v, err := scalar(raw[p])
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		set, ok := setters[p]
		switch {
		case p == "name":
			got.Name = v
		case !ok:
			return fmt.Errorf("unknown parameter %q", p)
		default:
			if err := set(&got, v); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
	}
	if got.Name != "" {
		if err := got.check(); err != nil {
			return err
		}
	} else if err := got.checkValues(); err != nil {
		return err
	}
	*f = got
	return nil
}

// scalar returns the text of a JSON string or number.
func scalar(raw json.RawMessage) (string, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case float64:
		return string(raw), nil
	default:
		return "", errors.New("neither a string nor a number")
	}
}

// MarshalJSON renders the fault with "matched" and "fired".
func (s Status) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		wireFault
		Matched int64 `json:"matched"`
		Fired   int64 `json:"fired"`
	}{s.wire(), s.Matched, s.Fired})
}

// UnmarshalJSON reads what MarshalJSON renders.
func (s *Status) UnmarshalJSON(b []byte) error {
	var counts struct{ Matched, Fired int64 }
	if err := json.Unmarshal(b, &counts); err != nil {
		return err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	delete(raw, "matched")
	delete(raw, "fired")
	s.Matched, s.Fired = counts.Matched, counts.Fired
	return s.Fault.fromJSON(raw)
}
