/* Read first by cppcheck, which reads no header of a library and does not know C23. */
#define __VA_OPT__(...) /* without its comma the list is read all the same */
#define json_array_foreach(array, i, value)                                                        \
	for (i = 0; i < json_array_size(array) && (value = json_array_get(array, i)); i++)
#define json_object_foreach(object, key, value)                                                    \
	for (key = json_object_iter_key(json_object_iter(object));                                 \
		key && (value = json_object_get(object, key)); key = next_of(object, key))
