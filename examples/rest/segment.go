// The mask of the object in a box, with Go and its standard library only.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

type answer struct {
	ErrorMsg string
	Result   struct {
		Masks []struct {
			Size   [2]int // height, width
			Counts string // COCO's run-length encoding
		}
		MaskInfos []struct {
			Prompt []float64
			Score  *float64
		}
	}
}

func main() {
	server := os.Getenv("OVSEG_URL")
	if server == "" {
		server = "http://localhost:8080"
	}
	photo, err := os.ReadFile("examples/photo.jpg")
	if err != nil {
		log.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{
		"image":      base64.StdEncoding.EncodeToString(photo),
		"promptType": "box",
		"prompt":     [][]float64{{150, 12, 300, 150}},
		"visualize":  false,
	})
	if err != nil {
		log.Fatal(err)
	}
	client := http.Client{Timeout: time.Minute}
	response, err := client.Post(
		server+"/open-vocabulary-segmentation", "application/json", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	var found answer
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		log.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		log.Fatal(found.ErrorMsg)
	}
	for i, mask := range found.Result.Masks {
		info := found.Result.MaskInfos[i]
		fmt.Println(info.Prompt, *info.Score, mask.Size, mask.Counts)
	}
}
