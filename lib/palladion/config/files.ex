defmodule Palladion.Config.Files do
  @moduledoc false
  # Internal: files that options name, read as a whole. What would never end or never begin is
  # refused: pipes, devices, and what is larger than any list of certificates.

  # Lists of revoked certificates of large authorities have some tens of megabytes.
  @most_bytes 67_108_864
  @chunk_bytes 1_048_576

  @type failure :: :not_regular | :too_large | atom()

  @typedoc "What files contain, as hashes, or why there is none"
  @type contents :: %{Path.t() => binary() | {:error, failure()}}

  @doc false
  # Keys are among what is read: call it where none stays.
  @spec read(Path.t(), most_bytes :: pos_integer()) :: {:ok, binary()} | {:error, failure()}
  def read(path, most_bytes \\ @most_bytes) do
    path = IO.chardata_to_string(path)

    # Opening a pipe waits for its other end: its kind is looked at before. Raw, for otherwise
    # another process would read it.
    with {:ok, info} <- :file.read_file_info(path, [:raw]),
         :ok <- regular(elem(info, 2)),
         {:ok, file} <- :file.open(path, [:raw, :read, :binary]) do
      result = read_on(file, [], 0, most_bytes)
      :file.close(file)
      result
    end
  end

  defp regular(:regular), do: :ok
  defp regular(:directory), do: {:error, :eisdir}
  defp regular(_pipe_or_device), do: {:error, :not_regular}

  # By what comes, for a size can be another by now.
  defp read_on(_file, _read, size, most) when size > most, do: {:error, :too_large}

  defp read_on(file, read, size, most) do
    case :file.read(file, @chunk_bytes) do
      {:ok, bytes} -> read_on(file, [read | bytes], size + byte_size(bytes), most)
      :eof -> {:ok, IO.iodata_to_binary(read)}
      {:error, reason} -> {:error, reason}
    end
  end

  @doc false
  # For a message, after the file's name.
  @spec format_error(failure()) :: String.t()
  def format_error(:not_regular), do: "can't be read: it is no regular file"

  def format_error(:too_large),
    do: "can't be read: it is larger than #{div(@most_bytes, 1_048_576)} MiB"

  def format_error(posix), do: "can't be read: #{:file.format_error(posix)}"

  @doc false
  # By path. Hashes, for a content that is put in place by a symbolic link, as Kubernetes does it,
  # may have any time of change.
  @spec contents([Path.t()]) :: contents()
  def contents(paths), do: Map.new(paths, &{&1, content(&1)})

  defp content(path) do
    with {:ok, bytes} <- read(path), do: :crypto.hash(:sha256, bytes)
  end
end
