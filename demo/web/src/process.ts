export const process = { env: { LOG_LEVEL: "warn" } };
