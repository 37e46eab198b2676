// Calls operations of the vendor's Go SDK as they are asked for on standard input, one JSON text per line:
// {"operation": "ShowFunctionConfig", "request": {"function_urn": "..."}}. Answers {"status", "result"} or {"error"},
// a line each. Started with {"endpoint", "region", "ak", "sk", "project_id"} as its only argument; with a region the
// client looks its project up.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	functiongraph "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/functiongraph/v2"
)

type options struct {
	Endpoint, Region, Ak, Sk string
	ProjectID                string `json:"project_id"`
}

type question struct {
	Operation string
	Request   json.RawMessage
}

func newClient(given options) (*functiongraph.FunctionGraphClient, error) {
	login := basic.NewCredentialsBuilder().WithAk(given.Ak).WithSk(given.Sk)
	builder := functiongraph.FunctionGraphClientBuilder()
	if given.Region != "" {
		login.WithIamEndpointOverride(given.Endpoint)
		builder.WithRegion(region.NewRegion(given.Region, given.Endpoint))
	} else {
		login.WithProjectId(given.ProjectID)
		builder.WithEndpoints([]string{given.Endpoint})
	}
	credentials, err := login.SafeBuild()
	if err != nil {
		return nil, err
	}
	made, err := builder.WithCredential(credentials).SafeBuild()
	if err != nil {
		return nil, err
	}
	return functiongraph.NewFunctionGraphClient(made), nil
}

// The methods of the client are alike: each takes a pointer to its own kind of request.
func answer(client *functiongraph.FunctionGraphClient, asked question) map[string]any {
	method := reflect.ValueOf(client).MethodByName(asked.Operation)
	if !method.IsValid() {
		return refusal(fmt.Errorf("the SDK has no %s", asked.Operation))
	}
	request := reflect.New(method.Type().In(0).Elem())
	if err := json.Unmarshal(asked.Request, request.Interface()); err != nil {
		return refusal(err)
	}
	results := method.Call([]reflect.Value{request})
	if err, failed := results[1].Interface().(error); failed {
		return refusal(err)
	}
	status := results[0].Elem().FieldByName("HttpStatusCode").Int()
	return map[string]any{"status": status, "result": results[0].Interface()}
}

func refusal(err error) map[string]any {
	said := map[string]any{"text": err.Error()}
	var refused *sdkerr.ServiceResponseError
	if errors.As(err, &refused) {
		said["status"], said["code"], said["message"] = refused.StatusCode, refused.ErrorCode, refused.ErrorMessage
	}
	return map[string]any{"error": said}
}

func main() {
	var given options
	if err := json.Unmarshal([]byte(os.Args[1]), &given); err != nil {
		panic(err)
	}
	client, clientError := newClient(given)
	questions, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var asked question
		if questions.Decode(&asked) != nil {
			return
		}
		said := map[string]any{}
		if clientError != nil {
			said = refusal(clientError)
		} else {
			said = answer(client, asked)
		}
		if err := answers.Encode(said); err != nil {
			panic(err)
		}
	}
}
