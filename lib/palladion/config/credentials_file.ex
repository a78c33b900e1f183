defmodule Palladion.Config.CredentialsFile do
  @moduledoc false
  # Internal: files with a username, a password, or both. Call it where no secret stays.

  alias Palladion.Config.Auth.Text
  alias Palladion.Config.{Files, Options}

  @most_bytes 65_536
  @names ~w(username password authorization_id)

  # Of UTF-8: some editors put it at the beginning of a file.
  @mark "\uFEFF"

  @type failure :: {:error, reason :: atom(), message :: String.t()}

  @doc false
  # A file with nothing but the text; the line break at its end is not part of it.
  @spec text(term()) :: {:ok, String.t()} | failure()
  def text(path) do
    with {:ok, path} <- path(path),
         {:ok, content} <- read(path),
         {:ok, text} <- one_line(path, content),
         do: sendable(path, text)
  end

  defp one_line(path, content) do
    case String.split(content, ["\r\n", "\n"]) do
      [text] when text != "" -> {:ok, text}
      [text, ""] when text != "" -> {:ok, text}
      [empty | more] when empty == "" and more in [[], [""]] -> error(path, :empty, "is empty")
      _ -> error(path, :malformed, "has more than one line")
    end
  end

  @doc false
  # A file as cqlsh reads it. Names of sections and comments count for nothing.
  @spec login(term()) :: {:ok, %{optional(String.t()) => String.t()}} | failure()
  def login(path) do
    with {:ok, path} <- path(path),
         {:ok, content} <- read(path),
         {:ok, content} <- sendable(path, content),
         {:ok, found} <- pairs(path, content),
         :ok <- complete(path, found),
         do: {:ok, found}
  end

  defp pairs(path, content) do
    lines = content |> String.split(["\r\n", "\n"]) |> Enum.flat_map(&pair/1)
    names = for {name, _value} <- lines, do: name

    case names -- Enum.uniq(names) do
      [] -> {:ok, Map.new(lines)}
      [twice | _] -> error(path, :malformed, "has more than one #{twice}")
    end
  end

  # As Python's configparser has it: either sign, names in any case.
  defp pair(line) do
    with [name, value] <- String.split(line, ["=", ":"], parts: 2),
         name = name |> String.trim() |> String.downcase(),
         true <- name in @names do
      [{name, String.trim(value)}]
    else
      _ -> []
    end
  end

  defp complete(path, found) do
    case for name <- ["username", "password"], found[name] in [nil, ""], do: name do
      [] -> :ok
      missing -> error(path, :required, "has no #{Enum.join(missing, " and no ")} in it")
    end
  end

  # Both

  defp path(path) do
    with :error <- Options.cast(:path, path),
         do: {:error, :invalid_value, "must be {:file, path} with the name of a file"}
  end

  defp read(path) do
    case Files.read(path, @most_bytes) do
      {:ok, content} -> {:ok, String.replace_prefix(content, @mark, "")}
      {:error, :too_large} -> error(path, :unreadable, "can't be read: it is larger than 64 KiB")
      {:error, failure} -> error(path, :unreadable, Files.format_error(failure))
    end
  end

  defp sendable(path, text) do
    case Text.login(text) do
      :ok -> {:ok, text}
      {:error, what} -> error(path, :invalid_value, what)
    end
  end

  defp error(path, reason, message), do: {:error, reason, "#{inspect(path)} #{message}"}
end
