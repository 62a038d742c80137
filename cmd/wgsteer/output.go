package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// output is the -o flag of a command that prints something to read.
type output struct{ format string }

// Set implements pflag.Value.
func (o *output) Set(s string) error {
	switch s {
	case "table", "json", "yaml":
		o.format = s
		return nil
	}
	return fmt.Errorf("%q is none of table, json, yaml", s)
}

// String implements pflag.Value.
func (o *output) String() string {
	if o.format == "" {
		return "table"
	}
	return o.format
}

// Type implements pflag.Value.
func (o *output) Type() string { return "table|json|yaml" }

func (o *output) addFlag(cmd *cobra.Command) {
	cmd.Flags().VarP(o, "output", "o", "how to print")
	// The flag was defined a line above: the one error there is cannot happen.
	_ = cmd.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// print writes v as JSON or YAML, of one schema: v's JSON; or calls table.
func (o *output) print(w io.Writer, v any, table func(io.Writer) error) error {
	if o.String() == "table" {
		return table(w)
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	if o.format == "yaml" {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return fmt.Errorf("encode the output as YAML: %w", err)
		}
	} else {
		text = append(text, '\n')
	}
	_, err = w.Write(text)
	return err
}
