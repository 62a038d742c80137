package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// oneLine joins the lines of a text, joined errors for instance.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
}

// lastLine is the last line that a log has, for an error.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return "nothing"
}

// saveFiles copies the files that exist into a new directory, named after the
// directory that each is in, and returns it; "" if there are none.
func saveFiles(dir, pattern string, paths []string) (saved string, err error) {
	var errs []error
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if saved == "" {
			if saved, err = os.MkdirTemp(dir, pattern); err != nil {
				return "", fmt.Errorf("make a directory for logs: %w", err)
			}
		}
		name := filepath.Base(filepath.Dir(path)) + "-" + filepath.Base(path)
		errs = append(errs, copyFile(filepath.Join(saved, name), path))
	}
	return saved, errors.Join(errs...)
}

func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("save a log: %w", err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("save a log: %w", err)
	}
	_, err = io.Copy(dst, src)
	if err := errors.Join(err, dst.Close()); err != nil {
		return fmt.Errorf("save %s: %w", from, err)
	}
	return nil
}
