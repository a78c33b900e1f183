defmodule Palladion.Config.Schema.Auth do
  @moduledoc false
  # Internal: the options of the login.

  alias Palladion.Config.Options

  @text "a string, a `Palladion.Secret` or a function that returns the string"

  @doc false
  @spec options() :: Options.schema()
  def options, do: private(names() ++ others() ++ rules())

  # A password is easily given to the wrong one of them.
  defp private(schema),
    do: for({name, spec} <- schema, do: {name, Keyword.put(spec, :private, true)})

  defp names do
    [
      username: [
        type: :any,
        value: "a string or `{:file, path}`",
        doc: "The role to log in as. A file is read at the start and again at each login."
      ],
      password: [
        type: :any,
        secret: true,
        value: "#{@text}, or `{:file, path}`",
        doc:
          "Its password. A function is called once, at the start and with each " <>
            "`Palladion.update_auth/2`; a file is read again at each login, without the line " <>
            "break at its end."
      ],
      authorization_id: [
        type: :string,
        default_text: "none",
        doc:
          "The role to act as, where it is another than the one that logs in: SASL's " <>
            "authorization id. For `:anonymous`, the text for the server's log."
      ],
      credentials: [
        type: :any,
        secret: true,
        value: "a function, `{module, function, arguments}` or `{:file, path}`",
        doc:
          "Instead of `username:` and `password:`: asked at each login. A function takes a " <>
            "`Palladion.Authenticator.Endpoint` (before the arguments) and returns " <>
            "`[username: ..., password: ...]`, with `authorization_id:` if it likes, or " <>
            "`{:error, text}`. A file has the lines `username = ...` and `password = ...`, as " <>
            "cqlsh's has."
      ],
      mechanism: [
        type: :any,
        value:
          "`:plain`, `:external`, `:anonymous`, `:cram_md5`, `:digest_md5`, `:scram_sha_1`, " <>
            "`:scram_sha_256`, or a list of them",
        default_text: "by the server's authenticator",
        doc:
          "The SASL mechanism. A list, in order of preference, is negotiated with the server. " <>
            "`:external` (the certificate of `tls:`) and `:anonymous` take no password. Without " <>
            "it, well-known authenticators of passwords get PLAIN."
      ]
    ]
  end

  defp others do
    [
      authenticator: [
        type: :any,
        secret: true,
        value: "a module or `{module, options}`",
        doc: "A login of your own, instead of all these: `Palladion.Authenticator`."
      ],
      sigv4: [
        type: :any,
        value: "`true` or [options](#sigv4-options)",
        doc:
          "AWS Signature Version 4, for Amazon Keyspaces. `true` takes credentials and region " <>
            "from where AWS's own tools have them."
      ]
    ]
  end

  defp rules do
    [
      timeout: [
        type: {:ms, 1..86_400_000},
        default: 5_000,
        default_text: "`5_000`, or four fifths of `login_timeout:`, whichever is less",
        doc:
          "How long a function, a file, an `authenticator:` or AWS may take for one answer. " <>
            "Less than `login_timeout:`."
      ],
      require_auth: [
        type: :boolean,
        default: true,
        doc:
          "Refuse a server that asks for no login: it may not be the one you mean, or its " <>
            "authentication may be switched off by mistake."
      ],
      allow_plaintext_password: [
        type: :boolean,
        default: false,
        doc:
          "Needed to log in with `tls: false`, where anyone on the way reads the password. " <>
            "SCRAM and `:anonymous` go without it."
      ],
      allowed_authenticators: [
        type: :any,
        default: [],
        value: "a list of Java class names",
        doc:
          "Authenticators that may get the password, besides the well-known ones. Others " <>
            "are refused before anything is sent."
      ]
    ]
  end

  @doc false
  @spec sigv4() :: Options.schema()
  def sigv4, do: private(keys())

  defp keys do
    [
      region: [
        type: :string,
        default_text: "`AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's",
        doc: "The region to sign for, such as `eu-central-1`."
      ],
      profile: [
        type: :string,
        default_text: "`AWS_PROFILE`, `default`",
        doc:
          "The profile of AWS's configuration files that the default chain of credentials " <>
            "takes: the environment, these files, web identity, containers, IMDSv2."
      ],
      access_key_id: [
        type: :any,
        secret: true,
        value: "a string",
        doc: "A key that is used instead of the chain."
      ],
      secret_access_key: [
        type: :any,
        secret: true,
        value: @text,
        doc: "Its secret."
      ],
      session_token: [
        type: :any,
        secret: true,
        value: @text,
        doc: "Its token, if the key is a temporary one."
      ],
      credentials: [
        type: :any,
        secret: true,
        value: "a function without arguments or `{module, function, arguments}`",
        doc:
          "Asked for the key instead, and again before `expires_at:` (a `DateTime`, Unix " <>
            "**seconds** or ISO 8601). Returns `[access_key_id: ..., secret_access_key: ...]`, " <>
            "with `session_token:` and `expires_at:` if there are, or `{:error, text}`."
      ]
    ]
  end
end
