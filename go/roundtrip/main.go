// Command roundtrip reads executions as JSON, one a line, through the Go types and writes them again. A field that the
// types do not know is an error. The test go_types compares what comes out.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"core.projectvoltron.dev/runner-controller/go/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"
)

func main() {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		fail(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()
		execution := &v1alpha1.RunnerExecution{}
		if err := decoder.Decode(execution); err != nil {
			fail(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(execution.DeepCopyObject()); err != nil {
			fail(err)
		}
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
