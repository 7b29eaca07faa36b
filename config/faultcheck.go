package config

import "unistore/faults"

// checkFault records what is wrong with an injected fault.
func (e entry) checkFault(f Fault) {
	if f.Name == "" {
		e.fail("name is missing")
		return
	}
	if _, err := faults.Parse(f.Name, f.Params); err != nil {
		e.fail("%v", err)
	}
}
