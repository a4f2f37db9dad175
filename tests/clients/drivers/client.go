// Go's net/http, as it is by default. See wire.py.
//
//	client BASE AUTHORITY < questions > answers
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func encode(data []byte) string {
	if len(data) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(data)
}

func decode(text string) []byte {
	if text == "=" {
		return nil
	}
	data, _ := base64.StdEncoding.DecodeString(text)
	return data
}

func body(told string) []byte {
	if strings.HasPrefix(told, "size:") {
		size, _ := strconv.Atoi(told[5:])
		return bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	}
	return decode(told[2:])
}

func ask(client *http.Client, base string, parts []string) string {
	var reader io.Reader
	if parts[4] != "-" {
		reader = bytes.NewReader(body(parts[4]))
		if strings.Contains(parts[5], "chunked") {
			reader = io.MultiReader(reader) // whose length net/http does not know
		}
	}
	request, err := http.NewRequest(parts[1], base+string(decode(parts[2])), reader)
	if err != nil {
		return "-\t" + encode([]byte(err.Error()))
	}
	for _, field := range strings.Split(string(decode(parts[3])), "\n") {
		if name, value, found := strings.Cut(field, ":"); found {
			request.Header.Add(name, strings.TrimPrefix(value, " "))
		}
	}
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "Go-http-client") // it would name the version of HTTP
	}
	answer, err := client.Do(request)
	if err != nil {
		sign := "!"
		if strings.Contains(err.Error(), "net/http: invalid") {
			sign = "-"
		}
		return sign + "\t" + encode([]byte(err.Error()))
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		return "!\t" + encode([]byte(err.Error()))
	}
	var fields strings.Builder
	for name, values := range answer.Header {
		for _, value := range values {
			fmt.Fprintf(&fields, "%s: %s\n", name, value)
		}
	}
	if answer.ContentLength >= 0 && answer.Header.Get("Content-Length") == "" {
		fmt.Fprintf(&fields, "Content-Length: %d\n", answer.ContentLength)
	}
	shown := encode(read)
	if len(read) > 1<<20 {
		shown = fmt.Sprintf("sha256:%x:%d", sha256.Sum256(read), len(read))
	}
	return fmt.Sprintf("%d\t%s\t%s", answer.StatusCode, encode([]byte(fields.String())), shown)
}

func main() {
	roots := x509.NewCertPool()
	authority, err := os.ReadFile(os.Args[2])
	if err != nil || !roots.AppendCertsFromPEM(authority) {
		panic("no authority")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	transport.Proxy = nil
	following := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	// net/http sends what was reset again, over one new connection after the other, for as long as it may.
	brief := &http.Client{Transport: transport.Clone(), Timeout: time.Second}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		with := client
		if strings.Contains(parts[5], "follow") {
			with = following
		} else if strings.Contains(parts[5], "brief") {
			with = brief
		}
		fmt.Printf("%s\t%s\n", parts[0], ask(with, os.Args[1], parts))
		brief.CloseIdleConnections()
	}
}
