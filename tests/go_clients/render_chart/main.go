// Renders the Helm chart by Go's own templates, with the few functions of Helm's that the chart calls: helm itself
// takes minutes to be made. `make chart` holds what this says against what helm says.
//
//	render_chart CHART VALUES.yaml RELEASE
package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

type members = map[string]any

func main() {
	if len(os.Args) != 4 {
		fail(errors.New("usage: render_chart CHART VALUES.yaml RELEASE"))
	}
	chart, given, release := os.Args[1], os.Args[2], os.Args[3]
	about := capitals(read(filepath.Join(chart, "Chart.yaml")))
	values := merged(read(filepath.Join(chart, "values.yaml")), read(given))
	known := members{
		"Chart":   about,
		"Values":  values,
		"Release": members{"Name": release, "Namespace": "default", "Service": "Helm"},
	}
	paths, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	fail(err)
	every := parsed(paths)
	for _, path := range paths {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		fail(every.ExecuteTemplate(&out, name, known))
		if strings.HasSuffix(name, ".yaml") {
			fmt.Printf("---\n%s\n", out.String())
		}
	}
}

// parsed reads all templates as one set, since each may include what another one defines.
func parsed(paths []string) *template.Template {
	every := template.New("chart").Option("missingkey=error")
	every.Funcs(template.FuncMap{
		"default":  func(other, value any) any { return either(value, other) },
		"join":     join,
		"nindent":  nindent,
		"quote":    func(value any) string { return fmt.Sprintf("%q", fmt.Sprint(value)) },
		"required": required,
		"toString": func(value any) string { return fmt.Sprint(value) },
		"toYaml":   toYaml,
		"urlParse": urlParse,
		"include": func(name string, known any) (string, error) {
			var out strings.Builder
			err := every.ExecuteTemplate(&out, name, known)
			return out.String(), err
		},
	})
	for _, path := range paths {
		text, err := os.ReadFile(path)
		fail(err)
		template.Must(every.New(filepath.Base(path)).Parse(string(text)))
	}
	return every
}

func read(path string) members {
	text, err := os.ReadFile(path)
	fail(err)
	found := members{}
	fail(yaml.Unmarshal(text, &found))
	return found
}

// capitals names the members of Chart.yaml as templates do.
func capitals(found members) members {
	named := members{}
	for name, value := range found {
		named[strings.ToUpper(name[:1])+name[1:]] = value
	}
	return named
}

// merged is what is given over what the chart has.
func merged(kept, given members) members {
	for name, value := range given {
		below, nested := value.(members)
		above, known := kept[name].(members)
		if nested && known {
			kept[name] = merged(above, below)
		} else {
			kept[name] = value
		}
	}
	return kept
}

func either(value, other any) any {
	if truth, _ := template.IsTrue(value); truth {
		return value
	}
	return other
}

func join(by string, values []any) string {
	texts := make([]string, len(values))
	for number, each := range values {
		texts[number] = fmt.Sprint(each)
	}
	return strings.Join(texts, by)
}

func nindent(by int, text string) string {
	margin := "\n" + strings.Repeat(" ", by)
	return margin + strings.ReplaceAll(text, "\n", margin)
}

func required(words string, value any) (any, error) {
	if value == nil || value == "" {
		return nil, errors.New(words)
	}
	return value, nil
}

func toYaml(value any) (string, error) {
	var out strings.Builder
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}

func urlParse(text string) (members, error) {
	found, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	return members{"scheme": found.Scheme, "host": found.Host, "hostname": found.Hostname()}, nil
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
