/** Said of each time whose name does not say its unit, where people read the description of the API. */
export const IN_MILLISECONDS = "In milliseconds.";
