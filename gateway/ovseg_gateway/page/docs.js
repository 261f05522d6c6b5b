// Starts Swagger UI on this service's own description.

SwaggerUIBundle({
  url: "openapi.json", // Beside /docs, whatever prefix a proxy adds.
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // It would send the description to another host.
});
