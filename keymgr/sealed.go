package keymgr

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
)

// A file of the state directory is text, and its last line is a comment that
// holds the checksum of all before it:
//
//	dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=
//	# wgsteer private-key v1 sha256:b44b...
//
// The form is fixed to the byte, so that any flipped bit is noticed.

func seal(kind string, payload []byte) []byte {
	return fmt.Appendf(bytes.Clone(payload), "# wgsteer %s v1 sha256:%x\n", kind, sha256.Sum256(payload))
}

// unseal returns what seal was given. Its errors never show the content.
func unseal(kind string, data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, errors.New("it is empty")
	}
	i := bytes.LastIndex(data, []byte("\n# wgsteer "))
	if i < 0 {
		return nil, errors.New("its checksum line is missing")
	}
	payload := data[:i+1]
	if !bytes.Equal(data, seal(kind, payload)) {
		return nil, errors.New("its checksum does not match")
	}
	return payload, nil
}
