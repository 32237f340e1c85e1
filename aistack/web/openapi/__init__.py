"""The reference: operations and contract types as one OpenAPI document. Pure."""
